"""The densities of the standardised residual ``e = (y - mu) / scale``, and their likelihoods.

The density of a label is ``p(y) = q(e) / (scale_x scale_y)``, in pixels; the loss is ``-log q(e) + log scale_x + log
scale_y``, in nats per joint, and likewise in D = 1 and D = 3 dimensions. Presets have unit variance per coordinate, so
that the scale is a standard deviation: Gaussian ``exp(-e^2 / 2) / sqrt(2 pi)``, Laplace ``exp(-sqrt(2) |e|) /
sqrt(2)``, and Student's t (:class:`~.presets.StudentPreset`).

RLE (Li et al., ICCV 2021, equation 8) is ``q(e) = Q(e) G(e) / Z`` with a preset ``Q``, the density ``G`` of a flow, and
``Z`` the integral of their product (the paper's ``s`` is ``1 / Z``). ``Z`` is computed by quadrature, with its
gradient.
"""

import logging
import math
from typing import Any

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from ...errors import ConfigError
from .flow import make_flow
from .presets import PRESETS, Preset, StudentPreset, log_laplace, make_preset, preset_from_config, student_preset
from .quadrature import Cubature, condense, distinct_rows, padded, product
from .registry import DENSITY_REGISTRY

logger = logging.getLogger("rle_onestage")


class Density(nn.Module):
    """A density of the standardised residual; by itself a preset with a learned scale or a fixed one.

    A subclass needs :meth:`log_q` alone, whose exponential integrates to 1, and a decorator
    ``@DENSITY_REGISTRY.register()``: quadrature of it gives the point, sigma, the expected OKS and the score. Its
    parameters learn with the network's. If it has options, it reads them in :meth:`from_config`.

    The presets' loss per coordinate is ``log scale + sqrt(2) |e| + log(2) / 2`` or ``log scale + e^2 / 2 + log(2 pi) /
    2``: with a constant scale the L1 and L2 regression of the paper's comparison, but for a factor and a constant.

    Args:
        preset: "laplace", "gaussian", "student" or a :class:`~.presets.StudentPreset`: the density of the coarse poses,
            and of the first iterations.
        dims: D, 1 to 3.
    """

    # Densities of joints that differ: 1 where all joints have the same, else K.
    rows = 1
    fitted: Tensor
    # With False the scale is one stride for every joint, and only its reported value is fitted.
    learns_scale = True

    # Relative error of the normaliser that training allows between evaluations: a fifth of the nodes.
    TRAINING_TOLERANCE = 2e-3
    # Of the integral of a user's own density: heavy tails lie beyond the quadrature's domain.
    MASS = (0.6, 1.1)
    _warns_of_mass = False

    def __init__(self, *, preset: str | Preset, dims: int = 2):
        super().__init__()
        self.preset = make_preset(preset)
        self.cubature = Cubature(dims=dims, wide=isinstance(self.preset, StudentPreset))
        # Reported standard deviation in units of the scale; 1 where the scale is learned.
        self.register_buffer("fitted", torch.ones(()))

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Arguments of the constructor from the config; a subclass adds its own.

        Args:
            cfg: the whole config.
        """
        return {"preset": preset_from_config(cfg)}

    def log_q(self, e: Tensor, joint: Tensor | None = None) -> Tensor:
        """Log-density (...) of residuals ``e`` (..., D), of the joints ``joint`` (...) int64 where they differ."""
        return self.preset(e, joint)

    def nll(self, e: Tensor, scale: Tensor, *, joint: Tensor | None = None, preset_only: bool = False) -> Tensor:
        """Negative log-likelihood (...) in nats per joint, in float32; never clamped, and normally of either sign.

        Args:
            e: (..., D) standardised residuals.
            scale: (..., D) spread of the preset in pixels.
            joint: (...) int64, needed where joints differ.
            preset_only: use the preset in place of the learned density; what it has learned stays as it is.
        """
        return torch.log(scale.float()).sum(-1) - self._log_likelihood(e.float(), joint, preset_only)

    def _log_likelihood(self, e: Tensor, joint: Tensor | None, preset_only: bool) -> Tensor:
        if preset_only:
            return self.preset.held(e, joint) if isinstance(self.preset, StudentPreset) else self.preset(e)
        return self.log_q(e) if self.rows == 1 else self.log_q(e, joint)

    @torch.no_grad()
    def fit(self, e: Tensor, joint: Tensor | None = None, momentum: float = 0.01) -> None:
        """Follow the size of the residuals ``e`` (n, D), so that a fixed scale can be reported in the end."""
        if not self.learns_scale and e.numel():
            self.fitted.lerp_(e.square().mean().clamp(max=1e4).sqrt(), momentum)

    @torch.no_grad()
    def refresh(self, tolerance: float = 2e-4) -> None:
        """Place the quadrature nodes anew for the present weights."""
        if isinstance(self.preset, StudentPreset):
            self.preset.check()
        self.cubature.adapt(self._log_integrand, tolerance, self._probes())
        if self._warns_of_mass and (wrong := self.wrong_mass()):
            self._warns_of_mass = False
            logger.warning("%s", wrong)

    @torch.no_grad()
    def wrong_mass(self) -> str:
        """A sentence where ``log_q`` of a user's own class is no density at the present weights; "" where it is one.

        The nodes must be placed for these weights.
        """
        if self.rows > 1 or type(self).log_q.__module__ == __name__:
            return ""
        e, log_weight = self.cubature.nodes()
        mass = float(torch.logsumexp(log_weight + self.log_q(e).float(), 0).exp())
        if self.MASS[0] <= mass <= self.MASS[1]:
            return ""
        return (
            f"exp of {type(self).__name__}.log_q integrates to {mass:.3g} and a density to 1, so its scale, sigmas and "
            "scores mean nothing; let log_q subtract the log of the integral, which depends on what the density learns"
        )

    def _log_unnormalised(self, e: Tensor) -> Tensor:
        """What the quadrature integrates: a subclass whose ``log_q`` is normalised by it has another."""
        return self.log_q(e)

    def _log_rows(self, e: Tensor) -> Tensor:
        """(R, n) of the joints that differ, R = ``rows``: the integrand of each at ``e`` (n, D)."""
        return self._log_unnormalised(e)[None]

    def _log_integrand(self, e: Tensor) -> Tensor:
        """(n,) what the nodes are placed for."""
        if not isinstance(self.preset, StudentPreset):
            return self._log_unnormalised(e)
        # Nodes for all joints at once. Where tails are heavy, the variance lies where hardly any mass is.
        return torch.logsumexp(self._log_rows(e), 0) + torch.log1p(e.square().sum(-1))

    def _probes(self) -> Tensor | None:
        """Points (n, D) at which a narrow peak may hide from the quadrature."""
        return None

    def _moments(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Present nodes (Q, D), their shares (R, Q) of q, and its mean (R, D) and standard deviation (R, D)."""
        e, log_weight = self.cubature.nodes()
        weight = torch.softmax(log_weight + self._log_rows(e), -1)
        mean = weight @ e
        variance = (weight[:, None] @ (e - mean[:, None]).square())[:, 0]
        return e, weight, mean, variance.sqrt()

    def _core(self, std: Tensor) -> Tensor:
        """Width (R, D) of the bulk of q, by which the table's nodes are spaced, of a standard deviation (R, D)."""
        return std

    @torch.no_grad()
    def table(self, count: int = 20) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Quadrature of q in at most ``count`` nodes to the power D. Call :meth:`refresh` first if the weights have
        changed.

        Returns:
            (nodes, weights, mean, std) of the G = ``rows`` groups of joints. These are nodes (G, Q, D), weights (G, Q)
            with the sum 1, mean (G, D) and standard deviation (G, D) of the density that is reported, in units of the
            scale.
        """
        e, weight, mean, std = self._moments()
        e, mean, std = e * self.fitted, mean * self.fitted, std * self.fitted
        nodes, weights = zip(*(condense(e, *row, count) for row in zip(weight, mean, self._core(std))))
        return padded(nodes), padded(weights), mean, std

    @torch.no_grad()
    def reported_log_q(self, e: Tensor) -> Tensor:
        """Log (G, n) of the density that is reported, normalised, at ``e`` (G, n, D) in units of the scale."""
        units = e / self.fitted
        if self.rows == 1:
            log_q = self.log_q(units)
        else:  # joints of one density, such as left and right, are looked at once
            own = torch.arange(self.rows, device=e.device)
            which = self.preset.degrees() if isinstance(self.preset, StudentPreset) else own
            first, place = distinct_rows(torch.cat([which[:, None], e.flatten(1)], 1))
            log_q = self.log_q(units[first], first[:, None].expand(-1, e.shape[1]))[place]
        return log_q - e.shape[-1] * torch.log(self.fitted)

    def nodes(self, count: int = 20) -> tuple[Tensor, Tensor]:
        """The nodes and weights of :meth:`table`."""
        return self.table(count)[:2]

    def std(self) -> Tensor:
        """Standard deviation (G, D) of q at the present weights, in units of the scale: 1 for a preset."""
        return self.fitted.new_ones(self.rows, self.cubature.dims)

    def joint_groups(self, joints: int) -> list[int]:
        """Index of the group of each of so many joints: all in one, or each for itself where they differ."""
        return [0] * joints if self.rows == 1 else list(range(joints))

    def node_count(self) -> int:
        """Number of quadrature nodes at which a normaliser is evaluated."""
        return len(self.cubature.nodes()[0])


class FlowDensity(Density):
    """``q = Q G / Z``, or with ``residual`` False ``q = G``, the flow alone (the paper's direct likelihood estimation).

    The loss is ``sum_d log scale_d - log G(e)``, with ``residual`` and ``- log Q(e) + log Z`` (the paper's equation 8).

    Args:
        preset: as in :class:`Density`.
        couplings: number of the flow's.
        hidden: width of its networks.
        dims: D, 1 to 3.
    """

    residual = True

    def __init__(self, *, preset: str | Preset = "laplace", couplings: int = 6, hidden: int = 64, dims: int = 2):
        super().__init__(preset=preset, dims=dims)
        self.flow = make_flow(couplings, hidden, dims)
        if isinstance(self.preset, StudentPreset) and self.residual:
            self.rows = self.preset.rows
        elif isinstance(self.preset, StudentPreset):  # the warm-up alone reads it, as it is at the start
            self.preset.requires_grad_(False)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """The preset, and the size of the flow."""
        return {**super().from_config(cfg), **_flow_size(cfg)}

    def _log_rows(self, e: Tensor) -> Tensor:
        if self.rows == 1:
            return super()._log_rows(e)
        return self._preset_rows(e) + self.flow.log_prob(e)

    def _preset_rows(self, e: Tensor) -> Tensor:
        """Log-density (R, n) of the preset at ``e`` (n, D)."""
        return self.preset.of_rows(e) if isinstance(self.preset, StudentPreset) else self.preset(e)[None]

    def _log_unnormalised(self, e: Tensor) -> Tensor:
        log_g = self.flow.log_prob(e)
        return self.preset(e) + log_g if self.residual else log_g

    def _probes(self) -> Tensor:
        z = torch.linspace(-3, 3, {1: 61, 2: 13, 3: 7}[self.flow.dims], device=self.cubature.cells.device)
        return self.flow(product(z, self.flow.dims))[0]

    @torch.no_grad()
    def std(self) -> Tensor:
        """As :meth:`Density.std`, on the present nodes: 0.3 % of a step of the quick start."""
        return self._moments()[3]

    def log_z(self) -> Tensor:
        """Log (R,) of the normaliser of each of the joints that differ, with its gradient; 0 for the flow alone."""
        e, log_weight = self.cubature.nodes()
        return torch.logsumexp(log_weight + self._log_rows(e), -1)

    def log_q(self, e: Tensor, joint: Tensor | None = None) -> Tensor:
        """Log-density (...) of residuals ``e`` (..., D), normalised on the present nodes."""
        if not self.residual:
            return self._log_unnormalised(e)
        # One pass of the flow for labels and nodes together: the small networks cost mostly their overhead.
        nodes, log_weight = self.cubature.nodes()
        both = torch.cat([e.reshape(-1, nodes.shape[1]), nodes])
        log_g = self.flow.log_prob(both)
        count = len(both) - len(nodes)
        log_z = torch.logsumexp(log_weight + (self._preset_rows(nodes) + log_g[count:]), -1)  # (R,)
        log_qg = self.preset(e, joint) + log_g[:count].view(e.shape[:-1])
        return log_qg - (log_z[0] if self.rows == 1 else log_z[joint])


def _flow_size(cfg: CfgNode) -> dict[str, Any]:
    flow = cfg.MODEL.RLE_ONESTAGE.FLOW
    return {"couplings": flow.COUPLINGS, "hidden": flow.HIDDEN}


@DENSITY_REGISTRY.register(name="rle_released")
class ReleasedDensity(Density):
    """``rle_released``: the sum that the authors' released code minimises, for comparison with published runs.

    Per joint it adds, over the coordinates, ``log scale - log G(e)`` and ``log(2 scale) + |e|`` (a Laplace density
    with the scale as its parameter) or the Gaussian's counterpart: log scale enters twice, the joint's log G once per
    coordinate, and Z is missing. It is not a likelihood; what is reported from it is the preset at that scale.
    """

    def __init__(self, *, preset: str = "laplace", couplings: int = 6, hidden: int = 64, dims: int = 2):
        if preset not in PRESETS:
            raise ConfigError(
                f"MODEL.RLE_ONESTAGE.PRESET is {preset}, for which DENSITY rle_released has no sum; set PRESET to "
                f"{' or '.join(PRESETS)}, or take DENSITY rle"
            )
        super().__init__(preset=preset, dims=dims)
        self.flow = make_flow(couplings, hidden, dims)
        if preset == "laplace":
            self.fitted.fill_(math.sqrt(2))  # the standard deviation of a Laplace density of scale 1

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """The preset by its name, and the size of the flow."""
        return {"preset": cfg.MODEL.RLE_ONESTAGE.PRESET, **_flow_size(cfg)}

    def nll(self, e: Tensor, scale: Tensor, *, joint: Tensor | None = None, preset_only: bool = False) -> Tensor:
        """The released code's sum (...); arguments as in :meth:`Density.nll`."""
        e, scale = e.float(), scale.float()
        if self.preset is log_laplace:
            preset = (math.log(2) + e.abs()).sum(-1)
        else:
            preset = (0.5 * math.log(2 * math.pi) + 0.5 * e.square()).sum(-1)
        log_scale = torch.log(scale).sum(-1)
        if preset_only:
            return log_scale + preset
        return 2 * log_scale + preset - e.shape[-1] * self.flow.log_prob(e)


@DENSITY_REGISTRY.register(name="rle")
class RLEDensity(FlowDensity):
    """``rle``: the preset times the flow, normalised; the paper's equation 8."""


@DENSITY_REGISTRY.register(name="flow")
class PlainFlowDensity(FlowDensity):
    """``flow``: the flow alone, without a preset (but for the iterations of its warm-up)."""

    residual = False


class _FixedPreset(Density):
    """A preset that the name says."""

    PRESET = ""

    def __init__(self, *, dims: int = 2):
        super().__init__(preset=self.PRESET, dims=dims)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """There are no options."""
        return {}


@DENSITY_REGISTRY.register(name="laplace")
class LaplaceDensity(_FixedPreset):
    """``laplace``: the Laplace preset with a learned scale."""

    PRESET = "laplace"


@DENSITY_REGISTRY.register(name="gaussian")
class GaussianDensity(_FixedPreset):
    """``gaussian``: the Gaussian preset with a learned scale."""

    PRESET = "gaussian"


@DENSITY_REGISTRY.register(name="student")
class StudentDensity(Density):
    """``student``: Student's t with a learned scale and learned degrees of freedom.

    Args:
        preset: a :class:`~.presets.StudentPreset`, or "student".
        dims: D, 1 to 3.
    """

    preset: StudentPreset

    def __init__(self, *, preset: str | StudentPreset = "student", dims: int = 2):
        super().__init__(preset=StudentPreset.of(preset), dims=dims)
        self.rows = self.preset.rows

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Which joints share their degrees of freedom."""
        return {"preset": student_preset(cfg)}

    def _log_rows(self, e: Tensor) -> Tensor:
        return self.preset.of_rows(e)

    def _moments(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As :meth:`Density._moments`; mean and variance are known, and that lies beyond the nodes in part."""
        e, weight, mean, std = super()._moments()
        return e, weight, torch.zeros_like(mean), torch.ones_like(std)

    def _core(self, std: Tensor) -> Tensor:
        # With the standard deviation, much of which heavy tails make, the expected OKS is out by up to 0.015.
        nu = self.preset.degrees()
        return std * ((nu - 2) / nu).sqrt()[:, None]


@DENSITY_REGISTRY.register(name="l1")
class L1Density(LaplaceDensity):
    """``l1``: the Laplace preset with a fixed scale."""

    learns_scale = False


@DENSITY_REGISTRY.register(name="l2")
class L2Density(GaussianDensity):
    """``l2``: the Gaussian preset with a fixed scale."""

    learns_scale = False
