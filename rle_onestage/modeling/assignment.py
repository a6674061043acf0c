"""Which candidate answers for which person. Pure, without gradient, returns indices."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from detectron2.config import CfgNode
from torch import Tensor

from ..structures.boxes import box_iou
from ..structures.oks import joint_oks
from ..utils.registry import NamedRegistry
from .locations import Locations
from .regions import inside_boxes
from .structures import CandidatePredictions, Candidates, Targets


class Assignment(NamedTuple):
    """The answer for P candidates."""

    person: Tensor  # (P,) int64, index into the image's people, -1 for none
    target: Tensor  # (P,) in [0, 1], what the score should be
    rank: Tensor  # (P,) int64, 0 for the person's best candidate


class Pairs(NamedTuple):
    """Candidates by geometry, and with whom each may be matched."""

    candidates: Candidates
    allowed: Tensor  # (P, M) bool
    background: Tensor  # (B, R) weight of each location as background


# A config names one as ``MODEL.RLE_ONESTAGE.ASSIGN.NAME``.
ASSIGNER_REGISTRY = NamedRegistry("ASSIGNER", "MODEL.RLE_ONESTAGE.ASSIGN.NAME")


class Assigner(Protocol):
    """What the architecture expects of an assigner. One for configs has :meth:`from_config` and is registered.

        >>> @ASSIGNER_REGISTRY.register()
        ... class MyAssigner(DynamicAssigner): ...

    Attributes:
        style: the ``MODEL.RLE_ONESTAGE.STYLE`` that it is for; "" for any.
    """

    style: str

    @classmethod
    def from_config(cls, cfg: CfgNode, oks_sigmas: Sequence[float]) -> dict[str, Any]:
        """Arguments of the constructor from the config.

        Args:
            cfg: the whole config.
            oks_sigmas: (K,) COCO's OKS constants.
        """

    def candidates(self, locations: Locations, targets: Targets) -> Pairs:
        """Candidates by geometry alone."""

    def __call__(
        self, pairs: Pairs, locations: Locations, targets: Targets, predictions: CandidatePredictions
    ) -> Assignment:
        """Match the candidates, whose predictions may be looked at."""


def _centres(targets: Targets) -> Tensor:
    return (targets.boxes[..., :2] + targets.boxes[..., 2:]) / 2  # (B, M, 2)


def _gap(locations: Locations, targets: Targets) -> Tensor:
    """(B, M, R) largest coordinate distance to the person's centre, in strides."""
    difference = (locations.xy - _centres(targets)[:, :, None]).abs().amax(-1)
    return difference / locations.stride


def _about_centre(locations: Locations, targets: Targets, radius: float) -> Tensor:
    """(B, M, R) whether the location is within ``radius`` strides of the person's centre and inside its box."""
    gap = _gap(locations, targets)
    # The nearest count in any case, so that a person smaller than a stride has a candidate too.
    return ((gap < radius) & inside_boxes(locations.xy, targets.boxes)) | (gap <= 0.5)


def _pairs(near: Tensor, background: Tensor) -> Pairs:
    image, location = near.any(1).nonzero(as_tuple=True)
    return Pairs(Candidates(image, location), near[image, :, location], background)


def _not_crowd(locations: Locations, targets: Targets) -> Tensor:
    """(B, R) 0 in crowds, whose people are not labelled one by one, else 1."""
    if targets.ignore.shape[1] == 0:
        return targets.boxes.new_ones(len(targets.boxes), len(locations.xy))
    return (~inside_boxes(locations.xy, targets.ignore).any(1)).float()


def _smallest(pairs: Pairs, targets: Targets) -> Tensor:
    """(P,) the smallest allowed person, -1 for none: FCOS's rule for overlaps."""
    area = targets.boxes[pairs.candidates.image]  # (P, M, 4)
    area = (area[..., 2:] - area[..., :2]).prod(-1).masked_fill(~pairs.allowed, float("inf"))
    best, person = area.min(1)
    return torch.where(torch.isfinite(best), person, -1)


def _rank_by_distance(person: Tensor, pairs: Pairs, locations: Locations, targets: Targets) -> Tensor:
    """(P,) rank of each candidate among its person's by distance from the centre, in strides."""
    image, location = pairs.candidates
    distance = _gap(locations, targets).permute(0, 2, 1)[image, location]  # (P, M)
    distance = distance.gather(1, person.clamp(min=0)[:, None])[:, 0]
    owner = image * targets.valid.shape[1] + person
    closer = (owner[:, None] == owner) & (distance[None] < distance[:, None])
    return closer.sum(1)


@ASSIGNER_REGISTRY.register(name="center")
class CenterAssigner:
    """FCOS (Tian et al., ICCV 2019) with its centre sampling: locations in a person's box and near its centre, on the
    level meant for its size.

    Args:
        radius: of the square about the centre, half its side, in strides.
        level_sizes: largest box side (square root of the area, pixels) of each level but the last.
    """

    style = "fcos"

    def __init__(self, *, radius: float, level_sizes: Sequence[float]):
        self.radius, self.level_sizes = radius, list(level_sizes)

    @classmethod
    def from_config(cls, cfg: CfgNode, oks_sigmas: Sequence[float]) -> dict[str, Any]:
        """The radius, and the sizes of the levels."""
        options = cfg.MODEL.RLE_ONESTAGE.ASSIGN
        return {"radius": options.RADIUS, "level_sizes": options.LEVEL_SIZES}

    @torch.no_grad()
    def candidates(self, locations: Locations, targets: Targets) -> Pairs:
        """Locations within ``radius`` of a person's centre and inside its box, on the level for its size.

        Outside of the box its sides cannot be regressed: distances to them are positive.
        """
        last = int(len(locations.shapes)) - 1
        bounds = targets.boxes.new_tensor(self.level_sizes[:last])
        size = (targets.boxes[..., 2:] - targets.boxes[..., :2]).clamp(min=0).prod(-1).sqrt()
        level = torch.bucketize(size, bounds)  # (B, M)
        near = _about_centre(locations, targets, self.radius) & (level[..., None] == locations.level)
        near &= targets.valid[..., None]
        return _pairs(near, _not_crowd(locations, targets))

    @torch.no_grad()
    def __call__(
        self, pairs: Pairs, locations: Locations, targets: Targets, predictions: CandidatePredictions
    ) -> Assignment:
        """The smallest allowed person, with target 1. Predictions are not looked at."""
        match = _smallest(pairs, targets)
        return Assignment(match, (match >= 0).float(), _rank_by_distance(match, pairs, locations, targets))


@ASSIGNER_REGISTRY.register(name="peak")
class PeakAssigner:
    """CenterNet (Zhou et al., "Objects as points", 2019): the one location that holds the centre.

    Its neighbours are background with the weight ``(1 - Y)^4``, ``Y`` a Gaussian as wide as a sixth of the box's sides.
    """

    style = "centernet"

    @classmethod
    def from_config(cls, cfg: CfgNode, oks_sigmas: Sequence[float]) -> dict[str, Any]:
        """There are no options."""
        return {}

    @torch.no_grad()
    def candidates(self, locations: Locations, targets: Targets) -> Pairs:
        """The location whose cell holds the centre, and the Gaussian weights of the others as background."""
        # Half-open, so that a centre on the border of two cells is not two peaks of one person.
        cells = (_centres(targets)[:, :, None] - locations.xy) / locations.stride[:, None]
        near = ((cells >= -0.5) & (cells < 0.5)).all(-1) & targets.valid[..., None]
        spread = ((targets.boxes[..., 2:] - targets.boxes[..., :2]) / 6).clamp(min=float(locations.stride[0]) / 2)
        offset = (locations.xy - _centres(targets)[:, :, None]) / spread[:, :, None]  # (B, M, R, 2)
        gauss = torch.exp(-0.5 * offset.square().sum(-1)) * targets.valid[..., None]
        background = (1 - gauss.amax(1)).pow(4) * _not_crowd(locations, targets)
        return _pairs(near, background)

    @torch.no_grad()
    def __call__(
        self, pairs: Pairs, locations: Locations, targets: Targets, predictions: CandidatePredictions
    ) -> Assignment:
        """The smallest person with its centre there, with target 1. Predictions are not looked at."""
        match = _smallest(pairs, targets)
        return Assignment(match, (match >= 0).float(), torch.zeros_like(match))


@ASSIGNER_REGISTRY.register(name="dynamic")
class DynamicAssigner:
    """The candidates that already answer best, by score, pose and box, as in TOOD (Feng et al., ICCV 2021).

    Alignment ``a = score^0.5 * u^3 * prior`` with ``u = sqrt(OKS * IoU)``, the OKS widened so that it ranks from the
    first step on, and a prior that falls with the distance from the centre. A person takes its ``topk`` best
    candidates, a candidate wanted by several goes to the one it fits best; targets are ``a``, scaled so that the best
    of a person gets its best ``u``.

    Args:
        topk: candidates a person.
        radius: of the candidates, in strides.
        oks_widen: factor on COCO's OKS constants.
        oks_sigmas: (K,) COCO's OKS constants.
    """

    style = "fcos"

    def __init__(self, *, topk: int, radius: float, oks_widen: float, oks_sigmas: Sequence[float]):
        self.topk, self.radius = topk, radius
        self.oks_sigmas = torch.tensor(oks_sigmas) * oks_widen

    @classmethod
    def from_config(cls, cfg: CfgNode, oks_sigmas: Sequence[float]) -> dict[str, Any]:
        """Number and place of the candidates, and the constants of the OKS."""
        options = cfg.MODEL.RLE_ONESTAGE.ASSIGN
        return {
            "topk": options.TOPK,
            "radius": options.RADIUS,
            "oks_widen": options.OKS_WIDEN,
            "oks_sigmas": oks_sigmas,
        }

    @torch.no_grad()
    def candidates(self, locations: Locations, targets: Targets) -> Pairs:
        """Locations within ``radius`` of a person's centre and inside its box, on every level."""
        near = _about_centre(locations, targets, self.radius) & targets.valid[..., None]
        return _pairs(near, _not_crowd(locations, targets))

    def _fit(self, targets: Targets, predictions: CandidatePredictions) -> Tensor:
        """``u`` (P, M)."""
        image, boxes = predictions.indices.image, predictions.boxes
        iou = box_iou(boxes[:, None], targets.boxes[image])
        distance2 = (predictions.poses.mu[:, None] - targets.joints[image]).square().sum(-1)  # (P, M, K)
        labelled = targets.labelled[image].float()
        oks = joint_oks(distance2, targets.area[image], self.oks_sigmas.to(boxes.device))
        count = labelled.sum(-1)
        oks = (oks * labelled).sum(-1) / count.clamp(min=1)
        return torch.where(count > 0, (oks * iou).sqrt(), iou)

    @torch.no_grad()
    def __call__(
        self, pairs: Pairs, locations: Locations, targets: Targets, predictions: CandidatePredictions
    ) -> Assignment:
        """Match by alignment. Shapes as in :class:`Assigner`; targets are soft, ranks are by alignment."""
        image, location = pairs.candidates
        fit = self._fit(targets, predictions)
        gap = _gap(locations, targets).permute(0, 2, 1)[image, location]  # (P, M)
        prior = torch.exp(-0.5 * (gap / self.radius) ** 2)
        align = torch.sigmoid(predictions.score)[:, None].sqrt() * fit.clamp(min=1e-3) ** 3 * prior
        align = align.masked_fill(~pairs.allowed, 0)
        rank = self._ranks(align, image, location, targets, len(locations.xy))
        taken = (rank < self.topk) & pairs.allowed
        wanted = align.masked_fill(~taken, -1)
        if wanted.numel() == 0:
            empty = image.new_zeros(0)
            return Assignment(empty, fit.new_zeros(0), empty)
        best, match = wanted.max(1)
        match = torch.where(best > 0, match, -1)
        target = self._soft_target(align, fit, match, image, targets)
        return Assignment(match, target, rank.gather(1, match.clamp(min=0)[:, None])[:, 0])

    def _ranks(self, align: Tensor, image: Tensor, location: Tensor, targets: Targets, count: int) -> Tensor:
        """(P, M) place of each candidate in each person's order of alignment; ``topk`` for all beyond."""
        batch, people = targets.valid.shape
        table = align.new_full((batch, people, count), -1.0)
        table[image, :, location] = align
        best = table.topk(min(self.topk, count), -1).indices
        places = torch.arange(best.shape[-1], device=align.device).expand_as(best)
        rank = best.new_full(table.shape, self.topk).scatter_(-1, best, places)
        return rank[image, :, location]

    @staticmethod
    def _soft_target(align: Tensor, fit: Tensor, match: Tensor, image: Tensor, targets: Targets) -> Tensor:
        """(P,) alignment over the person's best alignment, times the person's best fit."""
        index = match.clamp(min=0)[:, None]
        align, fit = align.gather(1, index)[:, 0], fit.gather(1, index)[:, 0]
        people = targets.valid.shape[1]
        owner = image * people + index[:, 0]
        positive = (match >= 0).to(align.dtype)
        best = align.new_zeros(2, targets.valid.numel())
        best = best.scatter_reduce(1, owner.expand(2, -1), torch.stack([align, fit]) * positive, "amax")
        return align / best[0][owner].clamp(min=1e-9) * best[1][owner] * positive
