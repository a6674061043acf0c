"""Adaptive cubature on a line, in the plane or in space: where the integrand is, there the nodes are.

The domain is cut at the axes (the Laplace preset has kinks there) into graded cells with a rule of degree 5 each: 3 or
3 x 3 points of Gauss and Legendre on a line and in the plane, in space the 14 points of Hammer and Stroud ("Numerical
evaluation of multiple integrals II", 1958). A cell whose integral differs from that of its halves (quarters, eighths)
is split, largest difference first (Berntsen, Espelid and Genz, "An adaptive algorithm for the approximate calculation
of multiple integrals", TOMS 1991).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

# Of the first cells, on each side of each axis: coarser in space, where their number is cubed.
_EDGES = {
    1: [0.0, 0.5, 1.25, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0],
    2: [0.0, 0.5, 1.25, 2.5, 5.0, 10.0, 20.0, 40.0],
    3: [0.0, 1.0, 2.5, 6.0, 15.0, 40.0],
}
# Beyond them for tails as heavy as a power: the widest flow, of a standard deviation of 20, ends them there.
_FAR = [80.0, 160.0]


def product(x: Tensor, dims: int) -> Tensor:
    """(n^D, D) the points of a grid whose axes all have the places ``x`` (n,)."""
    return torch.cartesian_prod(*[x] * dims).view(-1, dims)


def _base_cells(dims: int, wide: bool) -> Tensor:
    """(n, 2 D) rows of low corner and widths: the graded cells of all quadrants or octants."""
    side = _EDGES[dims] + [far for far in _FAR if wide and far > _EDGES[dims][-1]]
    edges = torch.tensor([-v for v in reversed(side[1:])] + side)
    return torch.cat([product(x, dims) for x in (edges[:-1], edges.diff())], 1)


def _rule(dims: int) -> tuple[Tensor, Tensor]:
    """Nodes (m, D) and weights (m,) of the rule on the unit interval, square or cube."""
    if dims < 3:
        x = torch.tensor([0.5 - 0.15**0.5, 0.5, 0.5 + 0.15**0.5])
        w = torch.tensor([5.0, 8.0, 5.0]) / 18
        return product(x, dims), w if dims == 1 else (w[:, None] * w).reshape(9)
    faces = (19 / 30) ** 0.5 * torch.cat([torch.eye(3), -torch.eye(3)])
    corners = (19 / 33) ** 0.5 * torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
    weight = torch.tensor([320 / 361] * 6 + [121 / 361] * 8) / 8
    return 0.5 + 0.5 * torch.cat([faces, corners]), weight


class Cubature(nn.Module):
    """Cells that follow an integrand; their number is bounded, their use is exact between adaptations too.

    The cells are buffers: a resumed run integrates on the same nodes as an uninterrupted one.

    Args:
        dims: D, 1 to 3.
        wide: the integrand may have tails as heavy as a power.
        capacity: largest number of cells.
    """

    cells: Tensor
    grid: Tensor
    grid_weight: Tensor

    def __init__(self, *, dims: int = 2, wide: bool = False, capacity: int | None = None):
        super().__init__()
        self.dims, self.wide = dims, wide
        base = _base_cells(dims, wide)
        grid, weight = _rule(dims)
        cells = torch.zeros(capacity or {1: 512, 2: 1024, 3: 4096}[dims] * (2 if wide else 1), 2 * dims)
        cells[: len(base)] = base
        self.register_buffer("cells", cells)
        self.register_buffer("grid", grid, persistent=False)
        self.register_buffer("grid_weight", weight, persistent=False)
        self.used = len(base)
        self.register_load_state_dict_post_hook(lambda module, _: module._count())

    def _count(self) -> None:
        self.used = int((self.cells[:, -1] > 0).sum())

    def nodes(self) -> tuple[Tensor, Tensor]:
        """Nodes (Q, D) and the log of their weights (Q,)."""
        return self._nodes(self.cells[: self.used])

    def _nodes(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        low, width = cells.chunk(2, 1)
        e = low[:, None] + width[:, None] * self.grid
        weight = width.prod(-1)[:, None] * self.grid_weight
        return e.reshape(-1, self.dims), weight.reshape(-1).log()

    def _log_integral(self, log_f: Callable[[Tensor], Tensor], cells: Tensor) -> Tensor:
        e, log_weight = self._nodes(cells)
        return (log_f(e) + log_weight).view(-1, len(self.grid)).logsumexp(1)

    @torch.no_grad()
    def adapt(self, log_f: Callable[[Tensor], Tensor], tolerance: float, probes: Tensor | None = None) -> float:
        """Cut the domain anew for the integrand ``exp(log_f)``.

        Args:
            log_f: log of a positive integrand, (n, D) -> (n,).
            tolerance: the relative error at which to stop, as estimated by halving.
            probes: (n, D) points where a peak may hide between the nodes: cells that miss one are split.

        Returns:
            The estimated relative error.
        """
        capacity = len(self.cells)
        cells = _base_cells(self.dims, self.wide).to(self.cells.device)
        value, parts = self._assess(log_f, cells)
        at_probes = None if probes is None else log_f(probes)
        for _ in range(60):
            # Sums in units of the largest cell so far: the search may start on the far slope of a narrow peak, where
            # the integrand is hundreds of e-folds below what it will find.
            shift = torch.maximum(parts.max(), value.max())
            error = (torch.exp(value - shift) - torch.exp(parts - shift)).abs()
            if probes is not None and at_probes is not None:
                error += self._missed(cells, parts, probes, at_probes, shift)
            total = torch.exp(parts - shift).sum().clamp(min=1e-30)
            room = (capacity - len(cells)) // (2**self.dims - 1)
            if error.sum() <= tolerance * total or room < 1:
                break
            # Split every cell above its share of the allowed error that is among the worst.
            share = torch.maximum(tolerance * total / len(cells), 0.01 * error.max())
            need = int((error > share).sum())
            split = error.topk(max(1, min(room, need, max(8, len(cells) // 2**self.dims)))).indices
            keep = torch.ones(len(cells), dtype=torch.bool, device=cells.device)
            keep[split] = False
            new = self._halved(cells[split])
            cells = torch.cat([cells[keep], new])
            value, parts = (
                torch.cat([old[keep], fresh]) for old, fresh in zip((value, parts), self._assess(log_f, new))
            )
        # Cells whose whole integral is below the tolerance's share are not worth a network evaluation.
        mass = torch.exp(parts - shift).sort()
        negligible = mass.values.cumsum(0) < 0.05 * tolerance * total
        cells = cells[mass.indices[~negligible].sort().values]
        self.cells.zero_()
        self.cells[: len(cells)] = cells
        self.used = len(cells)
        return float(error.sum() / total)

    @staticmethod
    def _missed(cells: Tensor, log_integral: Tensor, probes: Tensor, at_probes: Tensor, shift: Tensor) -> Tensor:
        """(n,) error of cells in which a probe lies e^3 above the cell's mean: a peak between the nodes, else 0."""
        low, width = cells[:, None].chunk(2, 2)
        inside = ((probes >= low) & (probes < low + width)).all(-1)  # (n, probes)
        highest = at_probes.masked_fill(~inside, float("-inf")).amax(1) + width[:, 0].prod(1).log()
        # No more than e^10 of what is known, which is enough to be split first.
        return torch.where(highest > log_integral + 3, torch.exp((highest - shift).clamp(max=10)), 0.0)

    def _halved(self, cells: Tensor) -> Tensor:
        """Cells (n, 2 D) cut in two along every axis: (2^D n, 2 D)."""
        low, width = cells[:, None].chunk(2, 2)
        corner = product(cells.new_tensor([0, 1]), self.dims)
        low = low + corner * (width / 2)
        return torch.cat([low, (width / 2).expand_as(low)], -1).reshape(-1, 2 * self.dims)

    def _assess(self, log_f: Callable[[Tensor], Tensor], cells: Tensor) -> tuple[Tensor, Tensor]:
        """Log-integral (n,) of each cell by the rule, and by the rule on its parts."""
        parts = self._log_integral(log_f, self._halved(cells)).view(-1, 2**self.dims).logsumexp(1)
        return self._log_integral(log_f, cells), parts


def condense(e: Tensor, weight: Tensor, mean: Tensor, std: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Merge nodes into at most ``count`` to the power D with the same mass and mean in each bin.

    The bins are finer near the mean, where the expected OKS of an imprecise joint is decided.

    Args:
        e: (Q, D) nodes.
        weight: (Q,) with the sum 1.
        mean: (D,) of the nodes.
        std: (D,) of the nodes, or of their bulk.
        count: even number of bins per axis.

    Returns:
        Nodes (q, D) and weights (q,), empty bins left out.
    """
    half = count // 2
    # Bin edges in standard deviations: quadratic from 0 to 6.
    edges = 6 * (torch.arange(1, half, device=e.device) / half) ** 2
    edges = torch.cat([-edges.flip(0), edges.new_zeros(1), edges])
    bins = torch.bucketize(((e - mean) / std.clamp(min=1e-6)).contiguous(), edges)
    mass, first = _merged(bins, weight, e, count)
    full = mass > 0
    return first[full] / mass[full, None], mass[full]


def padded(rows: Sequence[Tensor]) -> Tensor:
    """Tensors (Q_g, ...) of G rows as one (G, Q, ...), the shorter ones with zeros at their ends."""
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)


def distinct_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Index (U,) of the first of each of the U different rows of (R, n), and for each row (R,) which of these it is."""
    _, place = torch.unique(rows, dim=0, return_inverse=True)
    first = torch.stack([(place == number).nonzero()[0, 0] for number in range(int(place.max()) + 1)])
    return first, place


def _merged(bins: Tensor, weight: Tensor, values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Sums of the weights (count^D,) and of the weighted ``values`` (count^D, D) of each bin; ``bins``: (Q, D)."""
    dims = bins.shape[1]
    index = sum(bins[:, axis] * count ** (dims - 1 - axis) for axis in range(dims))
    mass = weight.new_zeros(count**dims).index_add(0, index, weight)
    return mass, weight.new_zeros(count**dims, dims).index_add(0, index, weight[:, None] * values)


def fold(nodes: Tensor, weight: Tensor, std: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Nodes for integrals of functions of the squared coordinates: fewer, for all quadrants are laid on one.

    In each bin the mass and the mean squares stay.

    Args:
        nodes: (Q, D) about the mean.
        weight: (Q,) with the sum 1.
        std: (D,) of the nodes.
        count: bins per axis.

    Returns:
        Nodes (count to the power D, D), none negative, and their weights, 0 in empty bins.
    """
    # In standard deviations, from 0 to 6; of the powers from 2 to 4 this one was the most exact.
    edges = 6 * (torch.arange(1, count, device=nodes.device) / count) ** 2.5
    bins = torch.bucketize((nodes.abs() / std.clamp(min=1e-6)).contiguous(), edges)
    mass, second = _merged(bins, weight, nodes.square(), count)
    return (second / mass.clamp(min=1e-30)[:, None]).sqrt(), mass
