"""Memory: the C library's, which a training on the CPU asks for and frees by the gigabyte; and what tensors take."""

import ctypes
import logging
from typing import Any

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

logger = logging.getLogger(__name__)

# Names and numbers of glibc's malloc.h.
_OPTIONS = {"M_MMAP_MAX": (-4, 0), "M_TRIM_THRESHOLD": (-1, -1), "M_TOP_PAD": (-2, 256 << 20)}


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for the next tensor instead of giving it back to the system.

    It gives every block of 32 MB or more back at once, and the pages of the next one are then made anew, one fault
    each. Without that a step of 16 images at 320 px takes 0.57 s in place of 1.50 s (one thread), with the same
    numbers. The process holds what it once needed, and a little more, until it ends.

    Returns:
        Whether it was done; other C libraries have no such setting.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    done = [bool(mallopt(number, value)) for number, value in _OPTIONS.values()]
    if not all(done):
        logger.info("The C library refuses to keep freed memory (%s); steps may be slow", dict(zip(_OPTIONS, done)))
    return all(done)


class PeakMemory(TorchDispatchMode):
    """Within it, ``peak`` is the most bytes that the tensors made by operators take at a time.

    Args:
        model: its weights do not count.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self._weights = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage.data_ptr() not in self._weights:
                    self._alive[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self._alive = {key: pair for key, pair in self._alive.items() if not pair[0].expired()}
        self.peak = max(self.peak, sum(count for _, count in self._alive.values()))
        return result
