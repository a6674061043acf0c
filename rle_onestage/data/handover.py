"""How a batch gets from a data-loading process to the training.

A batch is one piece of memory that both processes share. What goes through their pipe is its handle, a few hundred
bytes, so that no process can be killed in the middle of a message, for whose rest the reader would wait for ever. The
memory is an anonymous file of Linux (``memfd_create``). Unlike ``/dev/shm`` it has no limit of its own: Docker gives a
container a ``/dev/shm`` of 64 MB, less than the batches may need. Elsewhere it is torch's shared memory. Whatever fails
is noticed in the process where it fails, and handed over as a sentence: torch would lose the batch in a thread.
"""

import contextlib
import errno
import io
import mmap
import os
import pickle
import signal
from collections.abc import Sequence
from multiprocessing import reduction
from typing import Any

import numpy as np
import torch

# Pieces begin at multiples of this many bytes.
_ALIGNMENT = 64


class Parcel:
    """Bytes in memory that two processes share.

    Args:
        pieces: buffers of bytes, copied.

    Raises:
        OSError: there is no memory or no file descriptor left.
    """

    def __init__(self, pieces: list):
        views = [memoryview(piece).cast("B") for piece in pieces]
        sizes = np.array([view.nbytes for view in views], np.int64)
        self._count, places = len(views), _places(sizes)
        self._size = places[-1]
        views.insert(0, sizes.data.cast("B"))
        self._file: Any = None  # of multiprocessing: a descriptor that can be sent
        self._tensor: torch.Tensor | None = None
        descriptor = _anonymous_file()
        if descriptor is None:
            self._tensor = _shared_tensor(views, places)
            return
        try:
            for view, place in zip(views, places):
                while view:
                    written = os.pwrite(descriptor, view, place)
                    view, place = view[written:], place + written
            os.ftruncate(descriptor, self._size)
            self._file = reduction.DupFd(descriptor)
        finally:
            os.close(descriptor)

    def open(self) -> list[memoryview]:
        """The pieces, in the process that got the parcel; once. They can be written to.

        Raises:
            OSError: the process that sent it is gone.
            EOFError: the process that sent it is gone.
        """
        if self._tensor is not None:
            memory = self._tensor.numpy().data
        else:
            descriptor = self._file.detach()
            try:
                memory = memoryview(mmap.mmap(descriptor, self._size))
            finally:
                os.close(descriptor)
        sizes = np.frombuffer(memory, np.int64, self._count)
        return [memory[place : place + size] for place, size in zip(_places(sizes)[1:], sizes)]


def _places(sizes: np.ndarray) -> list[int]:
    """Where the table of sizes, and then each piece begins; and where the last one ends."""
    places = [0]
    for size in (8 * len(sizes), *map(int, sizes)):
        places.append(-(-(places[-1] + size) // _ALIGNMENT) * _ALIGNMENT)
    return places


def _anonymous_file() -> int | None:
    """A descriptor of memory without a name, or None where there is no such thing.

    Raises:
        OSError: there is, but no memory or descriptor is left.
    """
    try:
        return os.memfd_create("rle_onestage")
    except AttributeError:
        return None
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise
        return None  # not in this kernel, or not allowed


def _shared_tensor(views: Sequence[memoryview], places: Sequence[int]) -> torch.Tensor:
    try:
        tensor = torch.empty(places[-1], dtype=torch.uint8).share_memory_()
    except RuntimeError as error:  # torch has no other type for a full /dev/shm
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
    array = tensor.numpy()
    for view, place in zip(views, places):
        array[place : place + view.nbytes] = np.frombuffer(view, np.uint8)
    return tensor


class _Pickler(pickle.Pickler):
    """Writes tensors, wherever they are in a sample, as arrays, whose memory is handed over without a copy."""

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is torch.Tensor and obj.device.type == "cpu" and obj.layout == torch.strided:
            with contextlib.suppress(TypeError, RuntimeError):  # a type that NumPy lacks; a tensor with a gradient
                return torch.from_numpy, (obj.numpy(),)
        return NotImplemented


def pack(batch: list[dict]) -> Parcel | list[dict]:
    """Make a batch ready to leave a worker.

    A tensor on its own costs an open file; the many of each sample would soon reach the usual limit of 1024, and take
    longer to hand over than to make.

    Returns:
        A :class:`Parcel`; where there is no room for it, a batch of one sample that has the ``error`` alone.
    """
    head = io.BytesIO()
    buffers: list[pickle.PickleBuffer] = []
    _Pickler(head, protocol=5, buffer_callback=buffers.append).dump(batch)
    try:
        return Parcel([head.getbuffer(), *(buffer.raw() for buffer in buffers)])
    except OSError as error:
        return [{"error": describe_failure(error), "unreadable": []}]


def unpack(packed: list[dict] | Parcel) -> list[dict]:
    """The batch that :func:`pack` was given; a list comes back as it is.

    Raises:
        OSError: the process that sent it is gone.
        EOFError: the process that sent it is gone.
    """
    if isinstance(packed, list):
        return packed
    head, *buffers = packed.open()
    return pickle.loads(head, buffers=buffers)


def describe_failure(error: OSError) -> str:
    """The sentence for a batch that cannot be handed over, or a worker that cannot be started."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"no more files can be opened ({error.strerror}); raise the limit (ulimit -n) or lower {_WORKERS}"
    if error.errno == errno.ENOSPC:
        return f"the shared memory (/dev/shm{_room()}) is full; {_MORE_SHARED_MEMORY}"
    why = error.strerror or error
    return f"data-loading processes cannot work ({why}); free memory and processes, or lower {_WORKERS}"


def describe_end(code: int | None) -> str:
    """The sentence for a worker that ended.

    Args:
        code: its exit code, negative for a signal; None if it is not known.
    """
    if code == -getattr(signal, "SIGBUS", 7):
        return (
            f"a data-loading process ended with a bus error, as it does where the shared memory (/dev/shm{_room()}) is "
            f"too small; {_MORE_SHARED_MEMORY}"
        )
    if code in (None, -9):
        how = "ended" if code is None else "was killed by signal 9"
        return f"a data-loading process {how} (out of memory?); lower {_WORKERS} or INPUT.POSE.CACHE_MB"
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"a data-loading process {how}; see what it printed, or lower {_WORKERS}"


_WORKERS = "DATALOADER.NUM_WORKERS (0 loads in this process)"
_MORE_SHARED_MEMORY = f"give it more (docker run --shm-size=8g, or --ipc=host) or lower {_WORKERS}"


def _room() -> str:
    """How large /dev/shm is, as far as that can be said."""
    try:
        status = os.statvfs("/dev/shm")
    except (OSError, AttributeError):
        return ""
    return f" of {status.f_blocks * status.f_frsize / 2**20:.3g} MB"
