"""A flow on a line, for the density of depth: what RealNVP is in the plane.

A coupling changes one coordinate given the others, so on a line it could only shift and stretch. Here each layer is a
sinh-arcsinh transformation (Jones and Pewsey, "Sinh-arcsinh distributions", Biometrika 2009) about a place of its own:
it stretches, shifts, skews, and makes tails heavier or lighter; several of them make several peaks. Both directions are
in closed form.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

# Places about which the layers bend the line, in units of the residual, from the first to the last.
_PLACES = 1.5
# All layers together stretch by no more than e to the power 3, as RealNVP with its six couplings does in the plane, and
# change the power of the tails by no more than a factor of 2.
_STRETCH, _TAIL = 3.0, math.log(2)


class SinhArcsinh(nn.Module):
    """One layer, from data to base ``z = c + sinh(d asinh(u) - k)`` with ``u = (e - c - t) exp(-s)``.

    It starts as the identity. ``s`` and ``log d`` are bounded by tanh.

    Args:
        place: c, which is fixed.
        layers: number of layers of the flow, among which the bounds are shared out.
    """

    def __init__(self, *, place: float, layers: int):
        super().__init__()
        self.place, self.layers = place, layers
        self.raw = nn.Parameter(torch.zeros(4))

    def _terms(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """s, t, log d, k."""
        stretch, shift, tail, skew = self.raw.unbind()
        return _STRETCH / self.layers * torch.tanh(stretch), shift, _TAIL / self.layers * torch.tanh(tail), skew

    def to_base(self, e: Tensor) -> tuple[Tensor, Tensor]:
        """Data (n,) to base; returns it and the log-determinant (n,) of the change."""
        s, t, log_d, k = self._terms()
        u = (e - self.place - t) * torch.exp(-s)
        z = torch.sinh(torch.exp(log_d) * torch.asinh(u) - k)
        return self.place + z, log_d - s + 0.5 * (torch.log1p(z.square()) - torch.log1p(u.square()))

    def to_data(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Inverse of :meth:`to_base`; returns the data and its log-determinant (n,)."""
        s, t, log_d, k = self._terms()
        z = z - self.place
        u = torch.sinh(torch.exp(-log_d) * (torch.asinh(z) + k))
        log_det = s - log_d + 0.5 * (torch.log1p(u.square()) - torch.log1p(z.square()))
        return self.place + t + u * torch.exp(s), log_det


class LineFlow(nn.Module):
    """Normalizing flow in one dimension, with the interface of :class:`~.flow.RealNVP`; in float32.

    Args:
        layers: number of layers.
    """

    dims = 1

    def __init__(self, *, layers: int = 6):
        super().__init__()
        places = torch.linspace(-_PLACES, _PLACES, layers).tolist() if layers > 1 else [0.0]
        self.layers = nn.ModuleList(SinhArcsinh(place=place, layers=layers) for place in places)

    def inverse(self, e: Tensor) -> tuple[Tensor, Tensor]:
        """Data to base. ``e``: (..., 1). Returns ``z`` (..., 1) and the log-determinant (...) of dz/de."""
        return self._run(e, "to_base", self.layers)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Base to data. ``z``: (..., 1). Returns ``e`` (..., 1) and the log-determinant (...) of de/dz."""
        return self._run(z, "to_data", reversed(self.layers))

    def _run(self, x: Tensor, direction: str, layers: Iterable[nn.Module]) -> tuple[Tensor, Tensor]:
        with torch.autocast(x.device.type, enabled=False):
            value = x.float()[..., 0]
            log_det = torch.zeros_like(value)
            for layer in layers:
                value, change = getattr(layer, direction)(value)
                log_det = log_det + change
            return value[..., None], log_det

    def log_prob(self, e: Tensor) -> Tensor:
        """Log-density (...) of ``e`` (..., 1)."""
        z, log_det = self.inverse(e)
        return log_det - 0.5 * z[..., 0].square() - 0.5 * math.log(2 * math.pi)
