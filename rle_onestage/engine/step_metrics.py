"""The losses of each step, averaged over processes and checked, without waiting for the device in every step."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NoReturn

import torch
import torch.distributed as dist
from detectron2.utils import comm
from torch import Tensor, nn

from rle_onestage.errors import DivergenceError

GRADIENT_NORM = "grad_norm"


class StepMetrics:
    """Takes the losses of a step, and gives them back as numbers one step later (at once on a single CPU process).

    The numbers travel in one small vector: losses, gradient norm, and whether a signal asked this process to stop.
    With several processes it is summed asynchronously, so all of them learn the same at the same iteration: a
    non-finite loss on any process, and the wish to stop.

    Attributes:
        stop_agreed: whether any process was asked to stop, as of the last step that was resolved.

    Args:
        immediate: resolve a step at once. Only for one process on the CPU, where nothing is waited for.
    """

    def __init__(self, *, immediate: bool):
        self.immediate = immediate
        self.world_size = comm.get_world_size()
        self.stop_agreed = False
        self._pending: _Pending | None = None

    def put(
        self,
        losses: Mapping[str, Tensor],
        *,
        iteration: int,
        file_names: Sequence[str],
        gradient_norm: Tensor | None,
        wants_stop: bool,
    ) -> dict[str, float] | None:
        """Note one step.

        Args:
            losses: scalar tensors by name.
            iteration: its number.
            file_names: the images of this process.
            gradient_norm: scalar tensor, or None.
            wants_stop: whether this process got a signal.

        Returns:
            What :meth:`flush` returns for this step (immediate) or the one before.
        """
        names = list(losses)
        values = [loss.detach().float().reshape(()) for loss in losses.values()]
        if gradient_norm is not None:
            names.append(GRADIENT_NORM)
            values.append(gradient_norm.detach().float().reshape(()))
        stop = torch.tensor(float(wants_stop), device=values[0].device)
        vector = torch.stack([*values, stop])
        before = None if self.immediate else self.flush()
        self._pending = _Pending(names, vector, iteration, file_names, self.world_size)
        return self.flush() if self.immediate else before

    def flush(self) -> dict[str, float] | None:
        """Numbers of the step that is under way: dict of floats (means over processes), or None when there is none.

        Raises:
            DivergenceError: a loss or the gradient is not finite; names the images. On every process.
        """
        if self._pending is None:
            return None
        pending, self._pending = self._pending, None
        *values, stop = pending.numbers()
        metrics = {name: value / self.world_size for name, value in zip(pending.names, values)}
        self.stop_agreed = self.stop_agreed or stop > 0
        if not all(math.isfinite(value) for value in values):
            _raise_divergence(pending, metrics)
        return metrics


class _Pending:
    """One vector on its way: to the other processes, and from the device to the host."""

    def __init__(self, names: list[str], vector: Tensor, iteration: int, file_names: Sequence[str], world_size: int):
        self.names = names
        self.iteration = iteration
        self.file_names = file_names
        self.own = vector.clone() if world_size > 1 else vector
        self.vector = vector
        self.work: dist.Work | None = None
        self.event: torch.cuda.Event | None = None
        if world_size > 1:
            self.work = dist.all_reduce(vector, async_op=True)
        if vector.is_cuda:
            # Neither line makes the host wait: the stream does, and the event says when the copy is there.
            if self.work is not None:
                self.work.wait()
            self.vector = torch.empty(vector.shape, dtype=vector.dtype, pin_memory=True)
            self.vector.copy_(vector, non_blocking=True)
            self.event = torch.cuda.Event()
            self.event.record(torch.cuda.current_stream(vector.device))  # which need not be the present device

    def numbers(self) -> list[float]:
        """The sums over processes, as floats."""
        if self.event is not None:
            self.event.synchronize()
        elif self.work is not None:
            self.work.wait()
        return self.vector.tolist()


def check_finite_weights(model: nn.Module, iteration: int) -> None:
    """Raises DivergenceError where a weight or a buffer of a model, such as statistics of batch norm, is not finite."""
    if not all(bool(torch.isfinite(part).all()) for part in itertools.chain(model.parameters(), model.buffers())):
        raise DivergenceError(
            f"a weight became non-finite by iteration {iteration}; lower SOLVER.BASE_LR or turn on "
            "SOLVER.CLIP_GRADIENTS, then go on from the last checkpoint with --resume"
        )


def _raise_divergence(pending: _Pending, metrics: Mapping[str, float]) -> NoReturn:
    """Collective: name the images of the processes whose losses are not finite (of all, if only the gradient is)."""
    losses = [index for index, name in enumerate(pending.names) if name != GRADIENT_NORM]
    own_bad = not bool(torch.isfinite(pending.own[losses]).all())
    reports = comm.all_gather((own_bad, pending.file_names))
    images = [name for is_bad, names in reports if is_bad for name in names]
    images = images or [name for _, names in reports for name in names]
    shown = ", ".join(str(name) for name in images[:8]) + (f" and {len(images) - 8} more" if len(images) > 8 else "")
    bad = [name for name, value in metrics.items() if not math.isfinite(value)]
    raise DivergenceError(
        f"{', '.join(bad)} became non-finite at iteration {pending.iteration} with the images {shown}; look at them "
        "with rle-onestage visualize-data, or lower SOLVER.BASE_LR or turn on SOLVER.CLIP_GRADIENTS, then go on from "
        "the last checkpoint with --resume"
    )
