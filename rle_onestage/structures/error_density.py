"""The density of a joint's error as a table: what inference and evaluation need of the likelihood, without the flow."""

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import ConfigError, percent_hint
from .covariance import mahalanobis

# Central intervals and regions that a calibration may fit.
LEVELS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.975, 0.99)
BISECTIONS = 24  # of a level, to the last digit of float32
REACH = 40.0  # standard deviations that the table covers to each side
# At its edge the log of Student's t of n degrees of freedom falls by n + 2 times the log of the distance, that of a
# Laplace density of unit variance by 57 times. From 12 degrees on no label is out there.
HEAVY = 14.0


def density_axis(mean: Tensor, std: Tensor, size: int) -> Tensor:
    """Positions of a table's rows in units of the scale: dense about the mean, 0 among them.

    The Laplace preset has a kink at 0, which linear interpolation meets exactly if 0 is a row.

    Args:
        mean: (..., 2) of the density, in units of the scale.
        std: (..., 2) of the density, in units of the scale.
        size: odd number of positions S.

    Returns:
        (..., 2, S), ascending.
    """
    t = torch.linspace(-5, 5, size, device=mean.device)
    axis = mean[..., None] + std[..., None] * (REACH / math.sinh(5)) * torch.sinh(t)
    nearest = axis.abs().argmin(-1, keepdim=True)
    return axis.scatter(-1, nearest, 0.0)


class ErrorDensity:
    """Density of the label about the reported point, in units of the reported standard deviation.

    Args:
        axis: (G, 2, S) positions of the table's rows and columns, in units of the scale.
        log_q: (G, S, S) log of the density there, x first.
        mean: (G, 2) of the density, in units of the scale.
        std: (G, 2) of the density, in units of the scale.
        group: (K,) int64, which of the G densities is each joint's.
        intervals: (K, L) half-widths in standard deviations at ``LEVELS``, fitted on data; None, and zeros for a joint,
            take the density's.
        regions: (K, 2, L) of the regions at ``LEVELS``, fitted on data: radii of the ellipses, and the levels that the
            density's own regions have; None, and zeros for a joint, take the density's.

    Attributes:
        correlation: (G,) of the errors in x and y.
    """

    def __init__(
        self,
        *,
        axis: Tensor,
        log_q: Tensor,
        mean: Tensor,
        std: Tensor,
        group: Tensor,
        intervals: Tensor | None = None,
        regions: Tensor | None = None,
    ) -> None:
        self.axis, self.table, self.mean, self.std, self.group = axis, log_q, mean, std, group
        self.intervals, self.regions = intervals, regions
        edge = torch.cat([axis[..., :1], (axis[..., 1:] + axis[..., :-1]) / 2, axis[..., -1:]], -1)
        width = edge.diff()  # (G, 2, S), the trapezoidal rule's
        mass = torch.exp(log_q) * width[:, 0, :, None] * width[:, 1, None, :]
        self._mass = mass / mass.sum((1, 2), keepdim=True)
        x, y = ((axis - mean[..., None]) / std[..., None]).unbind(1)
        self.correlation = torch.einsum("gi,gij,gj->g", x, self._mass, y)
        self._power = self._edge_power()

    def _edge_power(self) -> Tensor:
        """(G,) by which the log-density falls with the log of the distance at the edge of the table, along the axes."""
        middle = (self.axis - self.mean[..., None]).abs().argmin(-1)  # (G, 2)
        index = torch.arange(len(middle), device=middle.device)
        lines = [self.table[index, :, middle[:, 1]], self.table[index, middle[:, 0]]]
        distance = (self.axis - self.mean[..., None]).abs()
        powers = [
            (line[:, inner] - line[:, outer]) / (distance[:, number, outer] / distance[:, number, inner]).log()
            for number, line in enumerate(lines)
            for outer, inner in ((0, 1), (-1, -2))
        ]
        return torch.stack(powers).amin(0)

    def to(self, device: torch.device | str) -> "ErrorDensity":
        """The same on another device.

        Args:
            device: where to.
        """
        return ErrorDensity(
            axis=self.axis.to(device),
            log_q=self.table.to(device),
            mean=self.mean.to(device),
            std=self.std.to(device),
            group=self.group.to(device),
            intervals=None if self.intervals is None else self.intervals.to(device),
            regions=None if self.regions is None else self.regions.to(device),
        )

    def log_prob(self, residual: Tensor, std: Tensor) -> Tensor:
        """Log-likelihood of labels.

        Args:
            residual: (..., K, 2) label minus reported point, in pixels.
            std: (..., K, 2) reported standard deviations, in pixels.

        Returns:
            (..., K) in nats, per square pixel.
        """
        return self.log_q(residual / std) - torch.log(std).sum(-1)

    def log_q(self, z: Tensor) -> Tensor:
        """Log-density of the standardised residual, bilinear in the table.

        Beyond the table it falls linearly, as a Laplace density of unit variance does; where the tails are heavier, as
        those of Student's t, it goes on as the power of the distance that it has at the edge.

        Args:
            z: (..., K, 2) residuals in units of the reported standard deviation.

        Returns:
            (..., K) in nats.
        """
        z = z.to(self.table)
        within = z.clamp(-REACH, REACH)
        beyond = self._beyond(z, within)
        position = self.mean[self.group] + within * self.std[self.group]
        (i, u), (j, v) = (self._locate(position[..., axis], axis) for axis in (0, 1))
        flat, size = self.table.reshape(-1), self.table.shape[-1]
        start = (self.group * size + i) * size + j
        near = torch.lerp(flat[start], flat[start + 1], v)
        far = torch.lerp(flat[start + size], flat[start + size + 1], v)
        return torch.lerp(near, far, u) + torch.log(self.std).sum(-1)[self.group] - beyond

    def _beyond(self, z: Tensor, within: Tensor) -> Tensor:
        """(..., K) by how much the log-density at ``z`` (..., K, 2) is below that at the nearest place in the table."""
        linear = (z - within).abs().sum(-1) * math.sqrt(2)
        heavy = self._power < HEAVY
        if not heavy.any():
            return linear
        far, near = (x.square().sum(-1).clamp(min=1e-12).log() for x in (z, within))
        return torch.where(heavy[self.group], 0.5 * self._power[self.group] * (far - near), linear)

    def _locate(self, position: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        """Index (..., K) of the cell and the place in it (..., K) in [0, 1], by bisection in each joint's axis."""
        rows = self.axis[self.group, axis]  # (K, S)
        flat = position.detach().reshape(-1, position.shape[-1]).T.contiguous()  # (K, n)
        low = (torch.searchsorted(rows.contiguous(), flat, right=True) - 1).clamp(0, rows.shape[1] - 2)
        left, right = rows.gather(1, low), rows.gather(1, low + 1)
        shape = position.shape
        low, left, right = (value.T.reshape(shape) for value in (low, left, right))
        return low, ((position - left) / (right - left)).clamp(0, 1)

    def half_width(self, level: float) -> Tensor:
        """Half-width of the interval about the point that holds a coordinate.

        Args:
            level: probability, in (0, 1); the same for x and y.

        Returns:
            (K,) in reported standard deviations.

        Raises:
            ConfigError: the level is no such probability.
        """
        check_level(level)
        own = self._half_width(level)[self.group]
        if self.intervals is None:
            return own
        return own * _fitted_ratio(level, [self._half_width(at)[self.group] for at in LEVELS], self.intervals)

    def _half_width(self, level: float) -> Tensor:
        """(G,) from the density: where the mass between -h and h, mean of both coordinates, reaches the level."""
        widths, masses = self._by_half_width
        wanted = widths.new_tensor([level])
        return torch.stack([interpolate(wanted, inside, widths)[0] for inside in masses])

    @functools.cached_property
    def _by_half_width(self) -> tuple[Tensor, list[Tensor]]:
        """Half-widths h, ascending, and of each density the mass between -h and h, mean of both coordinates."""
        h = REACH * torch.sinh(torch.linspace(0, 7, 4001, device=self.axis.device)) / math.sinh(7)
        masses = []
        for axes, mean, std, mass in zip(self.axis, self.mean, self.std, self._mass):
            inside = torch.zeros_like(h)
            for axis, m, s, marginal in zip(axes, mean, std, (mass.sum(1), mass.sum(0))):
                edge = torch.cat([axis[:1], (axis[1:] + axis[:-1]) / 2, axis[-1:]])
                cumulative = torch.cat([marginal.new_zeros(1), marginal.cumsum(0)])
                upper, lower = (interpolate(m + sign * h * s, edge, cumulative) for sign in (1, -1))
                inside = inside + (upper - lower) / 2
            masses.append(inside)
        return h, masses

    def ellipse_radius(self, level: float) -> Tensor:
        """Radius of the ellipse of the reported covariance that holds a label.

        Args:
            level: probability, in (0, 1).

        Returns:
            (K,) Mahalanobis distances: the half-axes in reported standard deviations along the axes of the covariance.

        Raises:
            ConfigError: the level is no such probability.
        """
        check_level(level)
        own = self._radius(level)[self.group]
        if self.regions is None:
            return own
        return own * _fitted_ratio(level, [self._radius(at)[self.group] for at in LEVELS], self.regions[:, 0])

    def _radius(self, level: float) -> Tensor:
        """(G,) from the density."""
        wanted = self.axis.new_tensor([level])
        return torch.stack([interpolate(wanted, cumulative, radii)[0] for radii, cumulative in self._by_radius])

    def in_ellipse(self, distance: Tensor | float) -> Tensor:
        """Probability that the ellipse through a label holds one: 0 at the point, 1 far out.

        It is the inverse of :meth:`ellipse_radius`, so what was fitted on data goes before the density itself.

        Args:
            distance: (..., K) Mahalanobis distances, see :func:`~.covariance.mahalanobis`; or one for all joints.

        Returns:
            (..., K) in [0, 1].
        """
        if not isinstance(distance, Tensor):
            distance = self.mean.new_tensor(distance)
        if not distance.dim():
            distance = distance.expand(len(self.group))
        if self.regions is None:
            return self._in_own_ellipse(distance)
        ratio = _fitted_ratios([self._radius(at)[self.group] for at in LEVELS], self.regions[:, 0])
        low, high = torch.zeros_like(distance), torch.ones_like(distance)
        for _ in range(BISECTIONS):
            level = (low + high) / 2
            beyond = self._in_own_ellipse(distance / _at_levels(level, ratio)) > level
            low, high = torch.where(beyond, level, low), torch.where(beyond, high, level)
        return (low + high) / 2

    def _in_own_ellipse(self, distance: Tensor) -> Tensor:
        """(..., K) from the density, at Mahalanobis distances (..., K)."""
        out = torch.empty_like(distance)
        for number, (radii, cumulative) in enumerate(self._by_radius):
            chosen = self.group == number
            flat = distance[..., chosen]
            inside = interpolate(flat.reshape(-1).to(radii), radii, cumulative)
            out[..., chosen] = inside.view(flat.shape).to(out)
        return out

    @functools.cached_property
    def _by_radius(self) -> list[tuple[Tensor, Tensor]]:
        """Of each density the Mahalanobis distances of its table's nodes, ascending, and the mass up to each."""
        tables = []
        for axes, mean, std, mass, correlation in zip(self.axis, self.mean, self.std, self._mass, self.correlation):
            z = (torch.cartesian_prod(*axes) - mean) / std
            radii, order = mahalanobis(z, correlation).sort()
            mass = mass.flatten()[order]
            tables.append((radii, (mass.cumsum(0) - mass / 2).clamp(0, 1)))  # half a node's mass lies beyond it
        return tables

    def density_level(self, level: float) -> Tensor:
        """Which of the density's own regions of highest density holds a label with a probability.

        Args:
            level: the probability, in (0, 1).

        Returns:
            (K,) the level that the density gives to this region: ``level`` itself where nothing was fitted. A label
            lies in it if ``1 - tail(log_q)`` is at most that.

        Raises:
            ConfigError: the level is no such probability.
        """
        check_level(level)
        own = self.axis.new_full((len(self.group),), level)
        if self.regions is None:
            return own
        fitted = self.regions[:, 1]
        ends = [torch.zeros_like(fitted[:, :1]), fitted, torch.ones_like(fitted[:, :1])]
        nominal = fitted.new_tensor([0.0, *LEVELS, 1.0])
        rows = [interpolate(fitted.new_tensor([level]), nominal, row)[0] for row in torch.cat(ends, 1)]
        return torch.where(fitted.any(1), torch.stack(rows), own)

    def expected_oks(self, std: Tensor, area: Tensor, oks_sigmas: Tensor) -> Tensor:
        """Expected OKS of joints whose labels have this density about the reported point.

        Args:
            std: (..., K, 2) reported standard deviations, in pixels.
            area: (...) COCO areas, in square pixels.
            oks_sigmas: (K,) COCO's OKS sigmas.

        Returns:
            (..., K) in [0, 1].
        """
        z2 = ((self.axis - self.mean[..., None]) / self.std[..., None]).square()[self.group]  # (K, 2, S)
        variance = std.square() / area.clamp(min=torch.finfo(area.dtype).tiny)[..., None, None]
        factor = variance / (2 * (2 * oks_sigmas) ** 2)[:, None]  # (..., K, 2)
        x, y = torch.exp(-factor[..., None] * z2).unbind(-2)  # (..., K, S): the similarity is a product over x and y
        return torch.einsum("...ki,kij,...kj->...k", x, self._mass[self.group], y)

    def log_peak(self) -> Tensor:
        """Largest log-density of the standardised residual: (K,) in nats."""
        return (self.table.flatten(1).amax(1) + torch.log(self.std).sum(-1))[self.group]

    def tail(self, log_q: Tensor) -> Tensor:
        """Probability that a label is less likely than a given one: 1 at the mode, 0 far out.

        Args:
            log_q: (..., K) log-densities, from :meth:`log_q`.

        Returns:
            (..., K) in [0, 1].
        """
        out = torch.empty_like(log_q)
        for number, (table, mass, std) in enumerate(zip(self.table, self._mass, self.std)):
            values, order = (table.flatten() + torch.log(std).sum()).sort()
            less = torch.cat([mass.new_zeros(1), mass.flatten()[order].cumsum(0)]).clamp(max=1)
            chosen = self.group == number
            out[..., chosen] = less[torch.searchsorted(values, log_q[..., chosen].contiguous())].to(out)
        return out


def check_level(level: float) -> None:
    """Raises ConfigError for what is no probability between 0 and 1: no finite interval has it, or none at all."""
    if not 0 < level < 1:
        hint = percent_hint(level) if level < 100 else ""
        raise ConfigError(f"level is {level:g}; give a probability greater than 0 and less than 1{hint}")


def _fitted_ratio(level: float, own: Sequence[Tensor], fitted: Tensor) -> Tensor:
    """What was fitted over what the density has itself: (K,), linear in the level, 1 for joints without fitted values.

    Args:
        level: in (0, 1).
        own: (K,) of the density, at each of ``LEVELS``.
        fitted: (K, L) at ``LEVELS``.
    """
    ratio = _fitted_ratios(own, fitted)
    high = min(sum(at < level for at in LEVELS), len(LEVELS) - 1)
    low = max(high - 1, 0)
    part = (level - LEVELS[low]) / max(LEVELS[high] - LEVELS[low], 1e-9)
    return torch.lerp(ratio[:, low], ratio[:, high], min(max(part, 0.0), 1.0))


def _fitted_ratios(own: Sequence[Tensor], fitted: Tensor) -> Tensor:
    """(K, L) what was fitted over what the density has, at ``LEVELS``; see :func:`_fitted_ratio`."""
    ratio = torch.stack([there / here for here, there in zip(own, fitted.unbind(1))], 1)
    return torch.where(fitted.any(1, keepdim=True), ratio, 1.0)


def _at_levels(level: Tensor, ratio: Tensor) -> Tensor:
    """Ratios (..., K) of joints at levels (..., K) of their own, of those (K, L) at ``LEVELS``."""
    ratio, steps = ratio.to(level), level.new_tensor(LEVELS)
    high = torch.searchsorted(steps, level.contiguous()).clamp(1, len(steps) - 1)
    part = ((level - steps[high - 1]) / (steps[high] - steps[high - 1])).clamp(0, 1)
    joint = torch.arange(len(ratio), device=level.device)
    return torch.lerp(ratio[joint, high - 1], ratio[joint, high], part)


def interpolate(x: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """Values (n,) at ``x`` (n,) of the piecewise linear function through ``xs``, ascending, and ``ys``.

    As ``numpy.interp``, which torch lacks, on any device.
    """
    high = torch.searchsorted(xs, x.contiguous()).clamp(1, len(xs) - 1)
    part = (x - xs[high - 1]) / (xs[high] - xs[high - 1]).clamp(min=1e-12)
    return torch.lerp(ys[high - 1], ys[high], part.clamp(0, 1))
