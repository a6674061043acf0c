"""Whether weights have changed."""

from collections.abc import Sequence

import torch
from torch import Tensor


class Watch:
    """Remembers the values of tensors, to say later whether they are still the same.

    By value, because weights change in many ways: by an optimizer, by a file, by averages that are put in their place.

    Args:
        tensors: few and small ones, for they are copied.
    """

    def __init__(self, tensors: Sequence[Tensor]):
        self._values = [tensor.detach().clone() for tensor in tensors]

    def same(self, tensors: Sequence[Tensor]) -> bool:
        """Whether these are the remembered values, on whatever device and in whatever precision they are now."""
        if len(tensors) != len(self._values):
            return False
        return all(torch.equal(value.to(tensor), tensor) for value, tensor in zip(self._values, tensors))
