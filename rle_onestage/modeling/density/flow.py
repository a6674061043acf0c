"""RealNVP in two or three dimensions: the density of the residual.

Dinh et al., "Density estimation using Real NVP", ICLR 2017; as used by Li et al., "Human Pose Regression with Residual
Log-likelihood Estimation", ICCV 2021: six affine couplings, two hidden layers, tanh on the log-scales, standard
normal base. A coupling changes one coordinate given the others, so in two dimensions its network has one input (no
mask), and scale and shift are two outputs of the same network.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .flow_1d import LineFlow


class Coupling(nn.Module):
    """Affine coupling: one coordinate is scaled and shifted by functions of the others.

    From data to base: ``z_a = (e_a - t(e_c)) * exp(-s(e_c))``, ``z_c = e_c``.
    """

    def __init__(self, *, active: int, hidden: int, dims: int):
        super().__init__()
        self.active = active
        first, middle, last = nn.Linear(dims - 1, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, 2)
        self.layers = nn.Sequential(first, nn.LeakyReLU(inplace=True), middle, nn.LeakyReLU(inplace=True), last)
        # Starts as the identity, so that the first likelihood is the preset's times a standard normal.
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def _scale_shift(self, coordinates: list[Tensor]) -> tuple[Tensor, Tensor]:
        condition = torch.stack([x for axis, x in enumerate(coordinates) if axis != self.active], 1)
        log_scale, shift = self.layers(condition).unbind(1)
        return torch.tanh(log_scale), shift

    def to_base(self, e: list[Tensor]) -> Tensor:
        """Change ``e``, D coordinates (n,), towards the base in place of its list; returns the log-determinant (n,)."""
        log_scale, shift = self._scale_shift(e)
        e[self.active] = (e[self.active] - shift) * torch.exp(-log_scale)
        return -log_scale

    def to_data(self, z: list[Tensor]) -> Tensor:
        """Inverse of :meth:`to_base`; returns its log-determinant (n,)."""
        log_scale, shift = self._scale_shift(z)
        z[self.active] = z[self.active] * torch.exp(log_scale) + shift
        return log_scale


class RealNVP(nn.Module):
    """Normalizing flow in D dimensions, in float32 whatever the autocast.

    Args:
        couplings: number of affine couplings; they change the coordinates in turn.
        hidden: width of the two hidden layers of each.
        dims: D, 2 or 3.
    """

    def __init__(self, *, couplings: int = 6, hidden: int = 64, dims: int = 2):
        super().__init__()
        self.dims = dims
        self.couplings = nn.ModuleList(Coupling(active=i % dims, hidden=hidden, dims=dims) for i in range(couplings))

    def inverse(self, e: Tensor) -> tuple[Tensor, Tensor]:
        """Data to base. ``e``: (..., D). Returns ``z`` (..., D) and the log-determinant (...) of dz/de."""
        return self._run(e, "to_base", self.couplings)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Base to data. ``z``: (..., D). Returns ``e`` (..., D) and the log-determinant (...) of de/dz."""
        return self._run(z, "to_data", reversed(self.couplings))

    def _run(self, x: Tensor, direction: str, couplings: Iterable[nn.Module]) -> tuple[Tensor, Tensor]:
        with torch.autocast(x.device.type, enabled=False):
            coordinates = list(x.float().reshape(-1, self.dims).unbind(1))
            log_det = torch.zeros_like(coordinates[0])
            for coupling in couplings:
                log_det = log_det + getattr(coupling, direction)(coordinates)
            return torch.stack(coordinates, 1).view(x.shape), log_det.view(x.shape[:-1])

    def log_prob(self, e: Tensor) -> Tensor:
        """Log-density (...) of ``e`` (..., D)."""
        z, log_det = self.inverse(e)
        return log_det - 0.5 * z.square().sum(-1) - 0.5 * self.dims * math.log(2 * math.pi)

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw ``count`` points (count, D), without gradient."""
        device = next(self.parameters()).device
        with torch.no_grad():
            z = torch.randn(count, self.dims, generator=generator, device=device)
            return self(z)[0]


def make_flow(couplings: int, hidden: int, dims: int) -> RealNVP | LineFlow:
    """A flow in D = ``dims`` dimensions; on a line it has as many layers as couplings, and no hidden ones."""
    if dims == 1:
        return LineFlow(layers=couplings)
    return RealNVP(couplings=couplings, hidden=hidden, dims=dims)
