"""RealNVP in two dimensions: the density of the residual.

Dinh et al., "Density estimation using Real NVP", ICLR 2017; as used by Li et al., "Human Pose Regression with Residual
Log-likelihood Estimation", ICCV 2021: six affine couplings, two hidden layers, tanh on the log-scales, standard
normal base. In two dimensions a coupling is conditioned on one number, so its network has one input (no mask).
"""

import math

import torch
from torch import Tensor, nn


class Coupling(nn.Module):
    """Affine coupling: one coordinate is scaled and shifted by functions of the other.

    From data to base: ``z_a = (e_a - t(e_c)) * exp(-s(e_c))``, ``z_c = e_c``.
    """

    def __init__(self, *, active: int, hidden: int):
        super().__init__()
        self.active = active
        self.layers = nn.Sequential(
            nn.Linear(1, hidden), nn.LeakyReLU(inplace=True),
            nn.Linear(hidden, hidden), nn.LeakyReLU(inplace=True),
            nn.Linear(hidden, 2),
        )
        # Starts as the identity, so that the first likelihood is the preset's times a standard normal.
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)

    def _scale_shift(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, shift = self.layers(condition[:, None]).unbind(1)
        return torch.tanh(log_scale), shift

    def to_base(self, e: list[Tensor]) -> Tensor:
        """Change ``e``, a pair of (n,), towards the base in place of its list; returns the log-determinant (n,)."""
        log_scale, shift = self._scale_shift(e[1 - self.active])
        e[self.active] = (e[self.active] - shift) * torch.exp(-log_scale)
        return -log_scale

    def to_data(self, z: list[Tensor]) -> Tensor:
        """Inverse of :meth:`to_base`; returns its log-determinant (n,)."""
        log_scale, shift = self._scale_shift(z[1 - self.active])
        z[self.active] = z[self.active] * torch.exp(log_scale) + shift
        return log_scale


class RealNVP(nn.Module):
    """Normalizing flow on the plane, in float32 whatever the autocast.

    Args:
        couplings: number of affine couplings; they change the two coordinates in turn.
        hidden: width of the two hidden layers of each.
    """

    def __init__(self, *, couplings: int = 6, hidden: int = 64):
        super().__init__()
        self.couplings = nn.ModuleList(Coupling(active=i % 2, hidden=hidden) for i in range(couplings))

    def inverse(self, e: Tensor) -> tuple[Tensor, Tensor]:
        """Data to base. ``e``: (..., 2). Returns ``z`` (..., 2) and the log-determinant (...) of dz/de."""
        return self._run(e, "to_base", self.couplings)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Base to data. ``z``: (..., 2). Returns ``e`` (..., 2) and the log-determinant (...) of de/dz."""
        return self._run(z, "to_data", reversed(self.couplings))

    @staticmethod
    def _run(x: Tensor, direction: str, couplings) -> tuple[Tensor, Tensor]:
        with torch.autocast(x.device.type, enabled=False):
            pair = list(x.float().reshape(-1, 2).unbind(1))
            log_det = torch.zeros_like(pair[0])
            for coupling in couplings:
                log_det = log_det + getattr(coupling, direction)(pair)
            return torch.stack(pair, 1).view(x.shape), log_det.view(x.shape[:-1])

    def log_prob(self, e: Tensor) -> Tensor:
        """Log-density (...) of ``e`` (..., 2)."""
        z, log_det = self.inverse(e)
        return log_det - 0.5 * z.square().sum(-1) - math.log(2 * math.pi)

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw ``count`` points (count, 2), without gradient."""
        weight = self.couplings[0].layers[0].weight
        with torch.no_grad():
            z = torch.randn(count, 2, generator=generator, device=weight.device)
            return self(z)[0]
