"""Densities of groups of joints, with the interface of one."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from .densities import Density
from .presets import StudentPreset
from .quadrature import padded


class GroupedDensity(nn.Module):
    """One density for each group of joints, with the interface of :class:`~.densities.Density`.

    Args:
        members: of the G groups.
        group: (K,) index of each joint's group, below G.
    """

    group: Tensor

    TRAINING_TOLERANCE = Density.TRAINING_TOLERANCE
    group_tensors = ("members.",)  # what belongs to some of the joints only

    def __init__(self, *, members: Sequence[Density], group: Sequence[int]):
        super().__init__()
        self.members: Sequence[Density] = nn.ModuleList(members)  # type: ignore[assignment]  # it is one of these
        self.register_buffer("group", torch.tensor(list(group)), persistent=False)

    def log_q(self, e: Tensor, joint: Tensor) -> Tensor:
        """Log-density (...) of residuals ``e`` (..., D) of the joints ``joint`` (...) int64."""
        return self._by_group(lambda member, e: member.log_q(e), joint, e)

    def nll(self, e: Tensor, scale: Tensor, *, joint: Tensor | None = None, preset_only: bool = False) -> Tensor:
        """As :meth:`Density.nll`; ``joint`` (...) int64 is needed unless ``preset_only``."""
        if joint is None or (preset_only and not isinstance(self.members[0].preset, StudentPreset)):
            return self.members[0].nll(e, scale, preset_only=True)
        return self._by_group(lambda member, e, scale: member.nll(e, scale, preset_only=preset_only), joint, e, scale)

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
        return (
            padded([node[0] for node in nodes]),
            padded([weight[0] for weight in weights]),
            torch.cat(mean),
            torch.cat(std),
        )

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
