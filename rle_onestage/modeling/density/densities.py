"""The densities of the standardised residual ``e = (y - mu) / scale``, and their likelihoods.

The density of a label is ``p(y) = q(e) / (scale_x scale_y)``, in pixels; the loss is ``-log q(e) + log scale_x + log
scale_y``, in nats per joint, and likewise in D = 3 dimensions. Presets have unit variance per coordinate, so that the
scale is a standard deviation: Gaussian ``exp(-e^2 / 2) / sqrt(2 pi)``, Laplace ``exp(-sqrt(2) |e|) / sqrt(2)``.

RLE (Li et al., ICCV 2021, equation 8) is ``q(e) = Q(e) G(e) / Z`` with a preset ``Q``, the density ``G`` of a flow, and
``Z`` the integral of their product (the paper's ``s`` is ``1 / Z``). ``Z`` is computed by quadrature, with its
gradient.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .flow import RealNVP
from .quadrature import Cubature, condense


def log_laplace(e: Tensor) -> Tensor:
    """Log-density (...) of the Laplace preset at ``e`` (..., D)."""
    return (-math.sqrt(2) * e.abs() - 0.5 * math.log(2)).sum(-1)


def log_gaussian(e: Tensor) -> Tensor:
    """Log-density (...) of the Gaussian preset at ``e`` (..., D)."""
    return (-0.5 * e.square() - 0.5 * math.log(2 * math.pi)).sum(-1)


PRESETS = {"laplace": log_laplace, "gaussian": log_gaussian}


class Density(nn.Module):
    """A preset with a learned scale (``laplace``, ``gaussian``) or a fixed one (``l1``, ``l2``).

    Per coordinate the loss is ``log scale + sqrt(2) |e| + log(2) / 2`` or ``log scale + e^2 / 2 + log(2 pi) / 2``: with
    a constant scale the L1 and L2 regression of the paper's comparison, but for a factor and a constant.

    Args:
        preset: "laplace" or "gaussian".
        learns_scale: with False the scale is one stride for every joint, and only its reported value is fitted.
        dims: D, 2 or 3.
    """

    # Relative error of the normaliser that training allows between evaluations: a fifth of the nodes.
    TRAINING_TOLERANCE = 2e-3

    def __init__(self, *, preset: str, learns_scale: bool = True, dims: int = 2):
        super().__init__()
        self.preset = PRESETS[preset]
        self.learns_scale = learns_scale
        self.cubature = Cubature(dims=dims)
        # Reported standard deviation in units of the scale; 1 where the scale is learned.
        self.register_buffer("fitted", torch.ones(()))

    def log_q(self, e: Tensor, joint: Tensor | None = None) -> Tensor:
        """Log-density (...) of residuals ``e`` (..., D), the same for every joint."""
        return self.preset(e)

    def nll(self, e: Tensor, scale: Tensor, *, joint: Tensor | None = None, preset_only: bool = False) -> Tensor:
        """Negative log-likelihood (...) in nats per joint, in float32; never clamped, and normally of either sign.

        Args:
            e: (..., D) standardised residuals.
            scale: (..., D) spread of the preset in pixels.
            joint: not used: one density for all joints.
            preset_only: use the preset in place of the learned density.
        """
        log_q = self.preset(e.float()) if preset_only else self.log_q(e.float())
        return torch.log(scale.float()).sum(-1) - log_q

    @torch.no_grad()
    def fit(self, e: Tensor, joint: Tensor | None = None, momentum: float = 0.01) -> None:
        """Follow the size of the residuals ``e`` (n, D), so that a fixed scale can be reported in the end."""
        if not self.learns_scale and e.numel():
            self.fitted.lerp_(e.square().mean().clamp(max=1e4).sqrt(), momentum)

    @torch.no_grad()
    def refresh(self, tolerance: float = 2e-4) -> None:
        """Place the quadrature nodes anew for the present weights."""
        self.cubature.adapt(self._log_unnormalised, tolerance, self._probes())

    def _log_unnormalised(self, e: Tensor) -> Tensor:
        return self.preset(e)

    def _probes(self) -> Tensor | None:
        """Points (n, D) at which a narrow peak may hide from the quadrature."""
        return None

    def _moments(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Present nodes (Q, D), their shares (Q,) of q, and its mean (D,) and standard deviation (D,)."""
        e, log_weight = self.cubature.nodes()
        weight = torch.softmax(log_weight + self._log_unnormalised(e), 0)
        mean = weight @ e
        return e, weight, mean, (weight @ (e - mean).square()).sqrt()

    @torch.no_grad()
    def table(self, count: int = 20) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Quadrature of q in at most ``count`` nodes to the power D. Call :meth:`refresh` first if the weights have
        changed.

        Returns:
            Of the G = 1 group of joints: nodes (G, Q, D), weights (G, Q) with the sum 1, mean (G, D) and standard
            deviation (G, D) of the density that is reported, in units of the scale.
        """
        e, weight, mean, std = self._moments()
        e, mean, std = e * self.fitted, mean * self.fitted, std * self.fitted
        nodes, weight = condense(e, weight, mean, std, count)
        return nodes[None], weight[None], mean[None], std[None]

    @torch.no_grad()
    def reported_log_q(self, e: Tensor) -> Tensor:
        """Log (G, n) of the density that is reported, normalised, at ``e`` (G, n, D) in units of the scale; G = 1."""
        return self.log_q(e / self.fitted) - e.shape[-1] * torch.log(self.fitted)

    def nodes(self, count: int = 20) -> tuple[Tensor, Tensor]:
        """The nodes and weights of :meth:`table`."""
        return self.table(count)[:2]

    def std(self) -> Tensor:
        """Standard deviation (G, D) of q at the present weights, in units of the scale: 1 for a preset; G = 1."""
        return self.fitted.new_ones(1, self.cubature.dims)

    def joint_groups(self, joints: int) -> list[int]:
        """Index of the group of each of so many joints: all in one."""
        return [0] * joints

    def node_count(self) -> int:
        """Number of quadrature nodes at which a normaliser is evaluated."""
        return len(self.cubature.nodes()[0])


class FlowDensity(Density):
    """``flow``: ``q = G``, the flow alone (the paper's direct likelihood estimation). ``rle``: ``q = Q G / Z``.

    The loss is ``sum_d log scale_d - log G(e)``, for ``rle`` with ``- log Q(e) + log Z`` (the paper's equation 8).
    """

    def __init__(self, *, preset: str, residual: bool, couplings: int = 6, hidden: int = 64, dims: int = 2):
        super().__init__(preset=preset, dims=dims)
        self.flow = RealNVP(couplings=couplings, hidden=hidden, dims=dims)
        self.residual = residual

    def _log_unnormalised(self, e: Tensor) -> Tensor:
        log_g = self.flow.log_prob(e)
        return self.preset(e) + log_g if self.residual else log_g

    def _probes(self) -> Tensor:
        z = torch.linspace(-3, 3, {2: 13, 3: 7}[self.flow.dims], device=self.cubature.cells.device)
        return self.flow(torch.cartesian_prod(*[z] * self.flow.dims))[0]

    @torch.no_grad()
    def std(self) -> Tensor:
        """As :meth:`Density.std`, on the present nodes: 0.3 % of a step of the quick start."""
        return self._moments()[3][None]

    def log_z(self) -> Tensor:
        """Log of the normaliser, with its gradient; 0 for the flow alone."""
        e, log_weight = self.cubature.nodes()
        return torch.logsumexp(log_weight + self._log_unnormalised(e), 0)

    def log_q(self, e: Tensor, joint: Tensor | None = None) -> Tensor:
        """Log-density (...) of residuals ``e`` (..., D), normalised on the present nodes."""
        if not self.residual:
            return self._log_unnormalised(e)
        # One pass of the flow for labels and nodes together: the small networks cost mostly their overhead.
        nodes, log_weight = self.cubature.nodes()
        both = torch.cat([e.reshape(-1, nodes.shape[1]), nodes])
        log_qg = self._log_unnormalised(both)
        count = len(both) - len(nodes)
        log_z = torch.logsumexp(log_weight + log_qg[count:], 0)
        return log_qg[:count].view(e.shape[:-1]) - log_z


class ReleasedDensity(Density):
    """``rle_released``: the sum that the authors' released code minimises, for comparison with published runs.

    Per joint it adds, over the coordinates, ``log scale - log G(e)`` and ``log(2 scale) + |e|`` (a Laplace density
    with the scale as its parameter) or the Gaussian's counterpart: log scale enters twice, the joint's log G once per
    coordinate, and Z is missing. It is not a likelihood; what is reported from it is the preset at that scale.
    """

    def __init__(self, *, preset: str, couplings: int = 6, hidden: int = 64, dims: int = 2):
        super().__init__(preset=preset, dims=dims)
        self.flow = RealNVP(couplings=couplings, hidden=hidden, dims=dims)
        if preset == "laplace":
            self.fitted.fill_(math.sqrt(2))  # the standard deviation of a Laplace density of scale 1

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


class GroupedDensity(nn.Module):
    """One density for each group of joints, with the interface of :class:`Density`.

    Args:
        members: of the G groups. group: (K,) index of each joint's group, below G.
    """

    TRAINING_TOLERANCE = Density.TRAINING_TOLERANCE
    group_tensors = ("members.",)  # what belongs to some of the joints only

    def __init__(self, *, members: list[Density], group: list[int]):
        super().__init__()
        self.members = nn.ModuleList(members)
        self.register_buffer("group", torch.tensor(group), persistent=False)

    def log_q(self, e: Tensor, joint: Tensor) -> Tensor:
        """Log-density (...) of residuals ``e`` (..., D) of the joints ``joint`` (...) int64."""
        return self._by_group(lambda member, e: member.log_q(e), joint, e)

    def nll(self, e: Tensor, scale: Tensor, *, joint: Tensor | None = None, preset_only: bool = False) -> Tensor:
        """As :meth:`Density.nll`; ``joint`` (...) int64 is needed unless ``preset_only``."""
        if preset_only:
            return self.members[0].nll(e, scale, preset_only=True)
        return self._by_group(lambda member, e, scale: member.nll(e, scale), joint, e, scale)

    def _by_group(self, function: Callable[..., Tensor], joint: Tensor, *rows: Tensor) -> Tensor:
        """``function(member, *rows of its joints)`` for every group, also one without rows: each flow has a gradient
        in each step, as training on several processes demands."""
        group = self.group[joint].flatten()
        order = group.argsort(stable=True)
        counts = torch.bincount(group, minlength=len(self.members)).tolist()
        parts = zip(*(row.reshape(-1, row.shape[-1])[order].split(counts) for row in rows))
        values = torch.cat([function(member, *part) for member, part in zip(self.members, parts)])
        return values[order.argsort()].view(joint.shape)

    def fit(self, e: Tensor, joint: Tensor, momentum: float = 0.01) -> None:
        """Follow the size of the residuals ``e`` (n, D) of the joints ``joint`` (n,) in each group."""
        group = self.group[joint]
        for number, member in enumerate(self.members):
            member.fit(e[group == number], momentum=momentum)

    def refresh(self, tolerance: float = 2e-4) -> None:
        """Place the quadrature nodes of every group anew."""
        for member in self.members:
            member.refresh(tolerance)

    @torch.no_grad()
    def table(self, count: int = 20) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As :meth:`Density.table`; groups with fewer nodes than others have further ones of weight 0."""
        nodes, weights, mean, std = zip(*(member.table(count) for member in self.members))
        most = max(weight.shape[1] for weight in weights)
        nodes = [F.pad(node, (0, 0, 0, most - node.shape[1])) for node in nodes]
        weights = [F.pad(weight, (0, most - weight.shape[1])) for weight in weights]
        return torch.cat(nodes), torch.cat(weights), torch.cat(mean), torch.cat(std)

    def reported_log_q(self, e: Tensor) -> Tensor:
        """As :meth:`Density.reported_log_q`."""
        return torch.cat([member.reported_log_q(rows[None]) for member, rows in zip(self.members, e)])

    def nodes(self, count: int = 20) -> tuple[Tensor, Tensor]:
        """The nodes and weights of :meth:`table`."""
        return self.table(count)[:2]

    def std(self) -> Tensor:
        """As :meth:`Density.std`."""
        return torch.cat([member.std() for member in self.members])

    def joint_groups(self, joints: int) -> list[int]:
        """Index of the group of each of the ``joints``, whose number is that of ``group``."""
        return self.group[:joints].tolist()

    def node_count(self) -> int:
        """Number of quadrature nodes at which the normalisers are evaluated."""
        return sum(member.node_count() for member in self.members)


def build_density(
    name: str,
    *,
    preset: str = "laplace",
    couplings: int = 6,
    hidden: int = 64,
    dims: int = 2,
    groups: Sequence[int] | None = None,
) -> Density | GroupedDensity:
    """Build a density by its name in the config.

    Args:
        name: "rle", "rle_released", "flow", "laplace", "gaussian", "l1" or "l2".
        preset: "laplace" or "gaussian", for the first two.
        couplings, hidden: size of the flow. dims: D, of the residuals: 2, or 3 with depth.
        groups: (K,) index of the group of each joint, 0 to G - 1, when groups shall have densities of their own.

    Raises:
        KeyError: for another name.
    """
    flow = {"couplings": couplings, "hidden": hidden, "dims": dims}
    builders = {
        "rle": lambda: FlowDensity(preset=preset, residual=True, **flow),
        "flow": lambda: FlowDensity(preset=preset, residual=False, **flow),
        "rle_released": lambda: ReleasedDensity(preset=preset, **flow),
        "laplace": lambda: Density(preset="laplace", dims=dims),
        "gaussian": lambda: Density(preset="gaussian", dims=dims),
        "l1": lambda: Density(preset="laplace", learns_scale=False, dims=dims),
        "l2": lambda: Density(preset="gaussian", learns_scale=False, dims=dims),
    }
    count = 1 if groups is None else max(groups) + 1
    members = [builders[name]() for _ in range(count)]
    density = members[0] if count == 1 else GroupedDensity(members=members, group=list(groups))
    density.refresh()
    return density
