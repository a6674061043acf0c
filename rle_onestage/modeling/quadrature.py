"""Adaptive cubature on the plane: where the integrand is, there the nodes are.

The plane is cut at the axes (the Laplace preset has kinks there) into graded cells with a 3 x 3 Gauss-Legendre rule
each. A cell whose integral differs from that of its four quarters is split, largest difference first (Berntsen,
Espelid and Genz, "An adaptive algorithm for the approximate calculation of multiple integrals", TOMS 1991).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

_EDGES = [0.0, 0.5, 1.25, 2.5, 5.0, 10.0, 20.0, 40.0]


def _base_cells() -> Tensor:
    """(n, 4) rows of x, y, width, height: the graded cells of all four quadrants."""
    edges = torch.tensor([-v for v in reversed(_EDGES[1:])] + _EDGES)
    low, width = edges[:-1], edges.diff()
    x, y = torch.meshgrid(low, low, indexing="ij")
    w, h = torch.meshgrid(width, width, indexing="ij")
    return torch.stack([x, y, w, h], -1).reshape(-1, 4)


def _rule() -> tuple[Tensor, Tensor]:
    """3 x 3 Gauss-Legendre on the unit square: nodes (9, 2), weights (9,)."""
    x = torch.tensor([0.5 - 0.15 ** 0.5, 0.5, 0.5 + 0.15 ** 0.5])
    w = torch.tensor([5.0, 8.0, 5.0]) / 18
    grid = torch.stack(torch.meshgrid(x, x, indexing="ij"), -1).reshape(9, 2)
    return grid, (w[:, None] * w).reshape(9)


class Cubature(nn.Module):
    """Cells that follow an integrand; their number is bounded, their use is exact between adaptations too.

    The cells are buffers: a resumed run integrates on the same nodes as an uninterrupted one.

    Args:
        capacity: largest number of cells.
    """

    def __init__(self, *, capacity: int = 1024):
        super().__init__()
        base = _base_cells()
        grid, weight = _rule()
        cells = torch.zeros(capacity, 4)
        cells[: len(base)] = base
        self.register_buffer("cells", cells)
        self.register_buffer("grid", grid, persistent=False)
        self.register_buffer("grid_weight", weight, persistent=False)
        self.used = len(base)
        self.register_load_state_dict_post_hook(lambda module, _: module._count())

    def _count(self) -> None:
        self.used = int((self.cells[:, 2] > 0).sum())

    def nodes(self) -> tuple[Tensor, Tensor]:
        """Nodes (Q, 2) and the log of their weights (Q,)."""
        return self._nodes(self.cells[: self.used])

    def _nodes(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        e = cells[:, None, :2] + cells[:, None, 2:] * self.grid
        weight = cells[:, 2:].prod(-1)[:, None] * self.grid_weight
        return e.reshape(-1, 2), weight.reshape(-1).log()

    def _log_integral(self, log_f: Callable[[Tensor], Tensor], cells: Tensor) -> Tensor:
        e, log_weight = self._nodes(cells)
        return (log_f(e) + log_weight).view(-1, 9).logsumexp(1)

    @torch.no_grad()
    def adapt(self, log_f: Callable[[Tensor], Tensor], tolerance: float, probes: Tensor | None = None) -> float:
        """Cut the plane anew for the integrand ``exp(log_f)``.

        Args:
            log_f: log of a positive integrand, (n, 2) -> (n,).
            tolerance: the relative error at which to stop, as estimated by halving.
            probes: (n, 2) points where a peak may hide between the nodes: cells that miss one are split.

        Returns:
            The estimated relative error.
        """
        capacity = len(self.cells)
        cells = _base_cells().to(self.cells.device)
        value, quarters = self._assess(log_f, cells)
        at_probes = None if probes is None else log_f(probes)
        for _ in range(60):
            # Sums in units of the largest cell so far: the search may start on the far slope of a narrow peak, where
            # the integrand is hundreds of e-folds below what it will find.
            shift = torch.maximum(quarters.max(), value.max())
            error = (torch.exp(value - shift) - torch.exp(quarters - shift)).abs()
            if probes is not None:
                error += self._missed(cells, quarters, probes, at_probes, shift)
            total = torch.exp(quarters - shift).sum().clamp(min=1e-30)
            room = (capacity - len(cells)) // 3
            if error.sum() <= tolerance * total or room < 1:
                break
            # Split every cell above its share of the allowed error that is among the worst.
            share = torch.maximum(tolerance * total / len(cells), 0.01 * error.max())
            need = int((error > share).sum())
            split = error.topk(max(1, min(room, need, max(8, len(cells) // 4)))).indices
            keep = torch.ones(len(cells), dtype=torch.bool, device=cells.device)
            keep[split] = False
            new = self._quarter(cells[split])
            cells = torch.cat([cells[keep], new])
            value, quarters = (torch.cat([old[keep], fresh]) for old, fresh in
                               zip((value, quarters), self._assess(log_f, new)))
        # Cells whose whole integral is below the tolerance's share are not worth a network evaluation.
        mass = torch.exp(quarters - shift).sort()
        negligible = mass.values.cumsum(0) < 0.05 * tolerance * total
        cells = cells[mass.indices[~negligible].sort().values]
        self.cells.zero_()
        self.cells[: len(cells)] = cells
        self.used = len(cells)
        return float(error.sum() / total)

    @staticmethod
    def _missed(cells: Tensor, log_integral: Tensor, probes: Tensor, at_probes: Tensor, shift: Tensor) -> Tensor:
        """(n,) error of cells in which a probe lies e^3 above the cell's mean: a peak between the nodes, else 0."""
        low = cells[:, None, :2]
        inside = ((probes >= low) & (probes < low + cells[:, None, 2:])).all(-1)  # (n, probes)
        highest = at_probes.masked_fill(~inside, float("-inf")).amax(1) + cells[:, 2:].prod(1).log()
        # No more than e^10 of what is known, which is enough to be split first.
        return torch.where(highest > log_integral + 3, torch.exp((highest - shift).clamp(max=10)), 0.0)

    @staticmethod
    def _quarter(cells: Tensor) -> Tensor:
        """(n, 4) -> (4n, 4)."""
        half = cells[:, 2:] / 2
        corner = cells.new_tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
        low = cells[:, None, :2] + corner * half[:, None]
        return torch.cat([low, half[:, None].expand_as(low)], -1).reshape(-1, 4)

    def _assess(self, log_f: Callable[[Tensor], Tensor], cells: Tensor) -> tuple[Tensor, Tensor]:
        """Log-integral (n,) of each cell by the rule, and by the rule on its quarters."""
        quarters = self._log_integral(log_f, self._quarter(cells)).view(-1, 4).logsumexp(1)
        return self._log_integral(log_f, cells), quarters


def condense(e: Tensor, weight: Tensor, mean: Tensor, std: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Merge nodes into at most ``count`` x ``count`` ones with the same mass and mean in each bin.

    The bins are finer near the mean, where the expected OKS of an imprecise joint is decided.

    Args:
        e: (Q, 2) nodes. weight: (Q,) with the sum 1. mean, std: (2,) of the nodes. count: even number of bins per axis.

    Returns:
        Nodes (q, 2) and weights (q,), empty bins left out.
    """
    half = count // 2
    # Bin edges in standard deviations: quadratic from 0 to 6.
    edges = 6 * (torch.arange(1, half, device=e.device) / half) ** 2
    edges = torch.cat([-edges.flip(0), edges.new_zeros(1), edges])
    bins = torch.bucketize(((e - mean) / std.clamp(min=1e-6)).contiguous(), edges)
    index = bins[:, 0] * count + bins[:, 1]
    mass = weight.new_zeros(count * count).index_add(0, index, weight)
    first = weight.new_zeros(count * count, 2).index_add(0, index, weight[:, None] * e)
    full = mass > 0
    return first[full] / mass[full, None], mass[full]
