"""Exponential moving average of the weights.

An own one, so that a training goes on exactly: torch's ``AveragedModel`` copies the weights at its first update instead
of averaging, and timm's ``ModelEmaV3`` asks for a ``state_dict`` in every step, which renews the tables of inference.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn


def ema_decay(decay: float, warmup: int, step: int) -> float:
    """Decay at the ``step``-th update (from 1): ``decay * (1 - exp(-step / warmup))``, or ``decay`` without warm-up.

    The ramp lets the average follow the fast changes of the first iterations instead of remembering random weights.
    """
    return decay * (1.0 - math.exp(-step / warmup)) if warmup > 0 else decay


class ModelEMA:
    """Averages of all floating-point weights and buffers of a model; other buffers (counters) are copied.

    Args:
        model: the bare module; its averages start as copies of its present values.
        decay: share of the old average that is kept in an update, in [0, 1).
        warmup: time constant in updates of the ramp, see :func:`ema_decay`.
    """

    def __init__(self, model: nn.Module, *, decay: float, warmup: int):
        self.decay = decay
        self.warmup = warmup
        self._slots = _persistent_slots(model)
        self._averages = {name: store[key].detach().clone() for name, store, key in self._slots}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the model's present values into the average.

        Args:
            step: number of this update, from 1; a function of the iteration, so that a resumed run continues alike.
        """
        weight = 1.0 - ema_decay(self.decay, self.warmup, step)
        by_type: dict[tuple[torch.dtype, torch.device], tuple[list[Tensor], list[Tensor]]] = {}
        for name, store, key in self._slots:
            average, value = self._averages[name], store[key].detach()
            if average.is_floating_point():
                averages, values = by_type.setdefault((average.dtype, average.device), ([], []))
                averages.append(average)
                values.append(value)
            else:
                average.copy_(value)
        for averages, values in by_type.values():
            torch._foreach_lerp_(averages, values, weight)

    @contextlib.contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Within the block the model has the averages; afterwards its own values again.

        What the block changes in the averaged model (tables made for inference) stays in the average.
        """
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, store, key in self._slots:
            kept = self._averages[name].clone()
            self._averages[name].copy_(store[key])
            store[key].copy_(kept)

    def state_dict(self) -> dict[str, Tensor]:
        """The averages by the names of the model's ``state_dict``; live tensors, not copies."""
        return dict(self._averages)

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over averages that :meth:`state_dict` gave.

        Raises:
            KeyError: a name is missing.
        """
        for name, average in self._averages.items():
            average.copy_(state[name])


def _persistent_slots(model: nn.Module) -> list[tuple[str, dict, str]]:
    """(name, dict, key) of each weight and buffer in the ``state_dict``; no tensors, as buffers may get replaced."""
    names = set(model.state_dict().keys())
    slots: list[tuple[str, dict, str]] = []
    seen: set[int] = set()
    for prefix, module in model.named_modules():
        stores: tuple[dict, dict] = (module._parameters, module._buffers)
        for store in stores:
            for key, value in store.items():
                name = f"{prefix}.{key}" if prefix else key
                if value is not None and name in names and id(value) not in seen:
                    seen.add(id(value))
                    slots.append((name, store, key))
    return slots
