"""The losses of a batch: owns the density, the weights and the normalisers."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ..structures.oks import joint_oks
from .assignment import Assignment, Pairs
from .density import Density, GroupedDensity
from .heatmap import heatmap_loss, heatmap_weight, paint_heatmaps
from .likelihood import PoseLikelihood, global_mean
from .locations import Locations
from .losses import giou_loss, varifocal_loss
from .regions import PartialLabels, background_weight
from .space.criterion import DepthCriterion
from .structures import CandidatePredictions, DenseOutputs, Poses, Predictions, Stage, Targets
from .targets import Matched, take
from .visibility import visibility_loss


class Criterion(PoseLikelihood):
    """Sees dense outputs, poses and targets, never the network.

    Args:
        density: of the last stage's residuals; earlier stages use its preset alone.
        oks_sigmas: (K,) COCO's OKS constants, for the quality target.
        weights: factors of the losses: "score", "box", "quality", "pose", "refine", "presence",
            "visibility", "heatmap", "depth", "size".
        heat_stride: of the auxiliary heatmaps, in pixels.
        flow_warmup: iterations with the preset alone.
        partial: how places away from known people count in sets that are labelled in part.
        space: the likelihood of depth, or None.
    """

    oks_sigmas: Tensor

    def __init__(
        self,
        *,
        density: Density | GroupedDensity,
        oks_sigmas: Sequence[float],
        weights: dict[str, float],
        flow_warmup: int,
        heat_stride: int,
        partial: PartialLabels,
        space: DepthCriterion | None = None,
    ):
        super().__init__(density=density, flow_warmup=flow_warmup)
        self.partial, self.weights, self.heat_stride = partial, dict(weights), heat_stride
        self.space = space
        self.register_buffer("oks_sigmas", torch.tensor(list(oks_sigmas)), persistent=False)

    def forward(
        self,
        predictions: Predictions,
        pairs: Pairs,
        assignment: Assignment,
        locations: Locations,
        targets: Targets,
        iteration: int,
    ) -> dict[str, Tensor]:
        """Weighted scalar losses by name, ``loss_*``; their sum is to be minimised.

        In a batch without people the sums are empty, not absent, so that every output still has a gradient.
        """
        self.count_areas(targets.area, targets.boxes, targets.valid & targets.area_known)
        dense, candidates, (refined, denoised, heat) = predictions
        positive = (assignment.person >= 0).nonzero()[:, 0]
        stages = [Stage(candidates.poses.rows(positive), positive), *refined]
        people = [self._people(stage.candidate, pairs, assignment, targets) for stage in stages]
        weights = [self._joint_weights(stage.candidate, p, assignment) for stage, p in zip(stages, people)]
        counts = assignment.target[positive] * people[0].weight
        known = people[0].known.float() * counts[:, None]
        sums = [counts.sum(), known.mean(1).sum(), *(w.sum() for w in weights)]
        if denoised:
            noisy_people = self._people(denoised.candidate, pairs, assignment, targets)
            noisy_weight = self._joint_weights(denoised.candidate, noisy_people, assignment)
            sums.append(noisy_weight.sum())
        norm = global_mean(torch.stack(sums)).unbind()

        background = pairs.background * background_weight(
            targets, locations.xy, torch.sigmoid(dense.score.detach()), self.partial
        )
        losses = self._dense_losses(dense, candidates, background, assignment, people[0], positive, norm[0])
        presence = F.binary_cross_entropy_with_logits(
            stages[0].poses.presence, people[0].labelled.float(), reduction="none"
        )
        losses["presence"] = (presence * known).mean(1).sum() / norm[1]
        if stages[0].poses.visibility is not None:
            losses["visibility"] = self._visibility(stages, people, assignment)
        for number, (stage, person, weight) in enumerate(zip(stages, people, weights)):
            final = number == len(stages) - 1
            nll = self.joint_losses(stage.poses, person, weight, final=final, iteration=iteration)
            losses["pose" if number == 0 else f"refine{number}"] = (nll * weight).sum() / norm[2 + number]
        if self.space is not None:
            losses |= self.space(stages, people, weights, iteration)
        if denoised:
            nll = self._denoising(denoised.poses, noisy_people, preset_only=iteration < self.flow_warmup)
            losses["denoise"] = (nll * noisy_weight).sum() / norm[-1]
        if heat is not None and self.weights["heatmap"]:
            losses["heatmap"] = self._heatmap(heat, targets)
        if dense.quality.numel():
            seen = min(1, len(stages) - 1)  # later passes are of one candidate a person
            losses["quality"] = self._quality(dense, stages[seen], people[seen], pairs, assignment)
        return {f"loss_{name}": loss * self._factor(name) for name, loss in losses.items()}

    def _factor(self, name: str) -> float:
        """The weight of a loss; a pass is known by its number."""
        kind = name.rstrip("0123456789")
        if kind == "depth":  # goes with x and y of the same poses
            return self.weights["depth"] * self.weights["pose" if name == kind else "refine"]
        return self.weights["refine" if kind == "denoise" else kind]

    @staticmethod
    def _people(index: Tensor, pairs: Pairs, assignment: Assignment, targets: Targets) -> Matched:
        return take(targets, pairs.candidates.image[index], assignment.person[index])

    @staticmethod
    def _joint_weights(index: Tensor, people: Matched, assignment: Assignment) -> Tensor:
        """(n, K): a candidate counts as much as its target and its person."""
        return people.labelled.float() * (assignment.target[index] * people.weight)[:, None]

    @staticmethod
    def _dense_losses(
        dense: DenseOutputs,
        candidates: CandidatePredictions,
        background: Tensor,
        assignment: Assignment,
        people: Matched,
        positive: Tensor,
        norm: Tensor,
    ) -> dict[str, Tensor]:
        image, location = candidates.indices
        target = torch.zeros_like(dense.score)
        target[image, location] = assignment.target
        image, location = image[positive], location[positive]
        counts = torch.zeros_like(target)
        counts[image, location] = people.weight
        weight = torch.where(target > 0, counts, background)
        score = (varifocal_loss(dense.score, target) * weight).sum() / norm
        box = (
            giou_loss(candidates.boxes[positive], people.boxes) * assignment.target[positive] * people.weight
        ).sum() / norm
        return {"score": score, "box": box}

    @staticmethod
    def _visibility(stages: Sequence[Stage], people: Sequence[Matched], assignment: Assignment) -> Tensor:
        """Mean over the stages of the cross entropy of whether labelled joints are visible."""
        pairs = [
            visibility_loss(stage.poses.visibility, person, assignment.target[stage.candidate] * person.weight)
            for stage, person in zip(stages, people)
            if stage.poses.visibility is not None
        ]
        sums, weights = torch.stack([pair[0] for pair in pairs]), torch.stack([pair[1] for pair in pairs])
        return (sums / global_mean(weights)).mean()

    def joint_losses(self, poses: Poses, people: Matched, weight: Tensor, *, final: bool, iteration: int) -> Tensor:
        """(n, K) what each joint costs, 0 where the weight is; a class derived from this one may have another rule.

        Args:
            poses: of n candidates, of one stage.
            people: whom they are matched to.
            weight: (n, K) 0 where a joint is unlabelled.
            final: whether these are the poses of the last stage.
            iteration: of the training.
        """
        return self.nll(poses, people.joints, weight, final=final, iteration=iteration)

    def _denoising(self, poses: Poses, people: Matched, *, preset_only: bool) -> Tensor:
        """(n, K) the preset's likelihood with scale held: the artificial starts shall not decide what scale says.

        The scale goes with the learned density, whose standard deviation in units of it is about 0.5; as the preset's
        standard deviation it would halve the weight of this loss against the others.
        """
        scale = poses.scale.detach()
        if not preset_only:
            group = self.density.joint_groups(scale.shape[1])
            scale = scale * self.density.std()[group]
        joint = torch.arange(scale.shape[1], device=scale.device).expand(scale.shape[:2])
        return self.density.nll((people.joints - poses.mu) / scale, scale, joint=joint, preset_only=True)

    def _heatmap(self, logits: Tensor, targets: Targets) -> Tensor:
        """Quality focal loss for each labelled joint."""
        heat, counts = paint_heatmaps(targets, logits.shape[2], logits.shape[3], self.heat_stride)
        seen = torch.sigmoid(logits.detach().float())
        weight = heatmap_weight(targets, counts, seen, self.heat_stride, self.partial)
        joints = (targets.labelled.sum(-1) * targets.weight).sum()
        return heatmap_loss(logits.float(), heat, weight) / global_mean(joints)

    def _quality(
        self, dense: DenseOutputs, stage: Stage, people: Matched, pairs: Pairs, assignment: Assignment
    ) -> Tensor:
        """Cross entropy of the quality logit with the OKS of the first refined pose (coarse without refinement)."""
        image, location = (index[stage.candidate] for index in pairs.candidates)
        distance2 = (stage.poses.mu.detach() - people.joints).square().sum(-1)
        labelled = people.labelled.float()
        count = labelled.sum(1)
        oks = (joint_oks(distance2, people.area, self.oks_sigmas) * labelled).sum(1) / count.clamp(min=1)
        weight = assignment.target[stage.candidate] * people.weight * (count > 0)
        loss = F.binary_cross_entropy_with_logits(dense.quality[image, location], oks, reduction="none")
        return (loss * weight).sum() / global_mean(weight.sum())
