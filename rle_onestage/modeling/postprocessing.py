"""From predictions to people: a fixed number of candidates, whatever the image holds."""

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn

from ..structures.boxes import AREA_OF_BOX, box_area
from ..structures.depth_density import SpaceDensity
from ..structures.error_density import LEVELS, ErrorDensity, density_axis
from ..structures.oks import expected_joint_oks
from ..structures.root import Camera
from .codec import decode_boxes
from .correction import INDEPENDENT, Correction, correct_sigma
from .density import Density, GroupedDensity
from .density.quadrature import fold
from .locations import Locations
from .nms import apart_first, best, box_overlap, peaks, pose_overlap, suppress
from .people import EVERYBODY, Look, People, found_people
from .space.decoding import SpaceDecoder
from .structures import CandidatePredictions, Candidates, DenseOutputs


def _without_later_parts(decoder: "Decoder", weights: dict[str, Tensor], prefix: str, *_: object) -> None:
    """A whole file of an earlier version: its correction has no part that came later."""
    if prefix + "correction" in weights:
        for name, value in zip(decoder.LATER, (torch.zeros_like(decoder.regions), torch.tensor(INDEPENDENT))):
            weights.setdefault(prefix + name, value)


def _fold_loaded(decoder: "Decoder", _: object) -> None:
    decoder.fold_table()


class Decoder(nn.Module):
    """Scores, suppression, and small tables of the density, so that inference needs no flow.

    Args:
        oks_sigmas: (K,) COCO's OKS constants.
        group: (K,) which of the density's groups is each joint's.
        topk: candidates an image.
        pre_nms_topk: best locations from which those are chosen whose boxes do not overlap; 0: no such choice.
        score_thresh: of what is returned.
        max_people: returned at most.
        box_nms: IoU of boxes above which the lower score is suppressed; 1 turns that off.
        oks_nms: the same for the OKS of poses.
        use_peaks: candidates are maxima of their neighbourhood (centernet style).
        score_power: exponent of the person's probability in the score.
        quality_power: exponent of the quality.
        oks_power: exponent of the expected OKS.
        space: the decoder of depth, or None.

    Attributes:
        fill_up: with fewer locations than ``topk``, the last one is a candidate again and again, with a score below
            0, so that shapes do not depend on the image: an export needs that.
    """

    TABLE = 20  # bins per axis of the density's quadrature
    FOLDED = 12  # the same, of the table that the expected OKS is computed with
    AXIS = 129  # rows and columns of the table of the log-density
    OVERLAP = 1.2  # of the sizes of person that both looks report, see :meth:`looks`
    FEW = 0.3  # of the candidates, for the half image: large people are few
    oks_sigmas: Tensor
    group: Tensor
    nodes: Tensor
    weights: Tensor
    folded_nodes: Tensor
    folded_weights: Tensor
    mean: Tensor
    std: Tensor
    correlation: Tensor
    axis: Tensor
    log_q: Tensor
    correction: Tensor
    intervals: Tensor
    regions: Tensor
    dependence: Tensor
    area_ratio: Tensor
    # Tensors whose first axis is that of the joints: rows of each.
    JOINT_ROWS = {"correction": 1, "intervals": 1, "regions": 1}
    # Not in files of earlier versions, whose corrections have no such part.
    LATER = ("regions", "dependence")

    def __init__(
        self,
        *,
        oks_sigmas: Sequence[float],
        group: Sequence[int],
        topk: int,
        pre_nms_topk: int,
        score_thresh: float,
        max_people: int,
        box_nms: float,
        oks_nms: float,
        use_peaks: bool,
        score_power: float,
        quality_power: float,
        oks_power: float,
        space: SpaceDecoder | None = None,
    ):
        super().__init__()
        self.topk, self.pre_nms_topk, self.score_thresh, self.max_people = topk, pre_nms_topk, score_thresh, max_people
        self.box_nms, self.oks_nms, self.use_peaks, self.fill_up, self.space = box_nms, oks_nms, use_peaks, False, space
        self.score_power, self.quality_power, self.oks_power = score_power, quality_power, oks_power
        self.register_buffer("oks_sigmas", torch.tensor(list(oks_sigmas)), persistent=False)
        joints, groups = len(oks_sigmas), max(group) + 1
        # Tables that belong to some of the joints only, or to one each.
        self.group_tensors = ("nodes", "weights", "mean", "std", "axis", "log_q") if groups > 1 else ()
        if list(group) == list(range(joints)):
            self.JOINT_ROWS = {**self.JOINT_ROWS, **dict.fromkeys(self.group_tensors, 1)}
        self.register_buffer("group", torch.tensor(list(group)), persistent=False)
        self.register_buffer("nodes", torch.zeros(groups, self.TABLE**2, 2))  # about the mean, in units of the scale
        self.register_buffer("weights", torch.zeros(groups, self.TABLE**2))
        self.register_buffer("folded_nodes", torch.zeros(groups, self.FOLDED**2, 2), persistent=False)
        self.register_buffer("folded_weights", torch.zeros(groups, self.FOLDED**2), persistent=False)
        self.register_load_state_dict_pre_hook(_without_later_parts)
        self.register_load_state_dict_post_hook(_fold_loaded)
        self.register_buffer("mean", torch.zeros(groups, 2))
        self.register_buffer("std", torch.ones(groups, 2))
        self.register_buffer("correlation", torch.zeros(groups), persistent=False)
        self.register_buffer("axis", density_axis(self.mean, self.std, self.AXIS))
        self.register_buffer("log_q", torch.zeros(groups, self.AXIS, self.AXIS))
        # The correction of sigma that a calibration fits: log-scale and power of each joint, and half-widths of its
        # intervals (zeros: those of the density).
        self.register_buffer("correction", torch.tensor([0.0, 1.0]).expand(joints, 2).clone())
        self.register_buffer("intervals", torch.zeros(joints, len(LEVELS)))
        # And its regions, see ``ErrorDensity``, and how it depends on the person and on what is hidden.
        self.register_buffer("regions", torch.zeros(joints, 2, len(LEVELS)))
        self.register_buffer("dependence", torch.tensor(INDEPENDENT))
        # COCO's area over the box's, of the people that the weights were trained with: it turns boxes into areas.
        self.register_buffer("area_ratio", torch.tensor(AREA_OF_BOX))

    @torch.no_grad()
    def set_density(self, density: Density | GroupedDensity) -> None:
        """Take the tables of a density whose nodes are fresh; a correction that was fitted for another one goes."""
        nodes, weights, mean, std = density.table(self.TABLE)
        self.nodes.zero_()
        self.weights.zero_()
        self.nodes[:, : nodes.shape[1]] = nodes - mean[:, None]
        self.weights[:, : nodes.shape[1]] = weights
        self.mean.copy_(mean)
        self.std.copy_(std)
        self.axis.copy_(density_axis(mean, std, self.AXIS))
        grid = torch.stack([torch.cartesian_prod(*axes) for axes in self.axis])  # (G, S S, 2)
        self.log_q.copy_(density.reported_log_q(grid).view_as(self.log_q))
        self.fold_table()
        self.reset_correction()

    @torch.no_grad()
    def fold_table(self) -> None:
        """Renew what files do not have: the table of the expected OKS, which needs the squares of the errors only, from
        ``nodes``; and the correlation of the errors in x and y, from ``log_q``."""
        self.correlation.copy_(self.error_density().correlation)
        folded = [fold(*group, self.FOLDED) for group in zip(self.nodes, self.weights, self.std)]
        nodes, weights = zip(*folded)
        self.folded_nodes.copy_(torch.stack(nodes))
        self.folded_weights.copy_(torch.stack(weights))

    @torch.no_grad()
    def set_correction(
        self,
        log_scale: Tensor,
        power: Tensor,
        intervals: Tensor,
        regions: Tensor | None = None,
        dependence: Tensor | None = None,
    ) -> None:
        """Correct sigma from now on, see :mod:`rle_onestage.modeling.correction`.

        Args:
            log_scale: (K,) of each joint.
            power: (K,) of each joint.
            intervals: (K, L) half-widths, in corrected standard deviations, of the intervals about the point that hold
                a coordinate with the probabilities ``LEVELS``.
            regions: (K, 2, L) of the regions that hold a label with these probabilities, see ``ErrorDensity``; None:
                those of the density.
            dependence: (4,) on size of person and visibility, see ``correction.DEPENDENCE``; None: on nothing.
        """
        self.reset_correction()
        self.correction.copy_(torch.stack([log_scale, power], 1))
        self.intervals.copy_(intervals)
        if regions is not None:
            self.regions.copy_(regions)
        if dependence is not None:
            self.dependence.copy_(dependence)

    @torch.no_grad()
    def reset_correction(self) -> None:
        """Report sigma as it was learned."""
        self.correction[:, 0], self.correction[:, 1] = 0.0, 1.0
        self.intervals.zero_()
        self.regions.zero_()
        self.dependence.copy_(self.dependence.new_tensor(INDEPENDENT))
        if self.space is not None:
            self.space.reset_correction()

    def space_density(self) -> SpaceDensity | None:
        """Intervals of joints in space in units of the sigma that is reported; None without depth."""
        return None if self.space is None else self.space.density(self.error_density())

    def error_density(self) -> ErrorDensity:
        """The density of a joint's error in units of the sigma that is reported."""
        return ErrorDensity(
            axis=self.axis,
            log_q=self.log_q,
            mean=self.mean,
            std=self.std,
            group=self.group,
            intervals=self.intervals if self.intervals.any() else None,
            regions=self.regions if self.regions.any() else None,
        )

    def _corrected(self, sigma: Tensor, area: Tensor, zoom: float, visible: Tensor | None) -> Tensor:
        """Corrected standard deviations (P, K, 2) in pixels; area (P,), probabilities ``visible`` (P, K) or None."""
        log_scale, power = self.correction.unbind(-1)
        correction = Correction(log_scale, power, self.intervals, self.regions, self.dependence)
        return correct_sigma(sigma, area, correction, input_area=area * zoom**2, visible=visible)

    def select(self, dense: DenseOutputs, locations: Locations, look: Look = EVERYBODY) -> tuple[Candidates, Tensor]:
        """The best locations of each image: B x N flat candidates, and their scores (B, N).

        People whom the look is not for score 0.
        """
        score = torch.sigmoid(dense.score).pow(self.score_power)
        if dense.quality.numel() and self.quality_power:
            score = score * torch.sigmoid(dense.quality).pow(self.quality_power)
        if self.use_peaks:
            rows, columns = locations.shapes[0]
            score = score * peaks(score.view(-1, 1, rows, columns)).flatten(1)
        if look != EVERYBODY:
            width, height = (dense.box[..., side] + dense.box[..., side + 2] for side in (0, 1))  # in strides
            area = self._area(width * height * locations.stride.square())
            score = score * ((area >= look.smallest**2) & (area < look.largest**2))
        count, among = self.candidates_of(look), round(self.pre_nms_topk * look.candidates)
        score, location = best(score, max(count, among), self.fill_up)
        image = torch.arange(score.shape[0], device=score.device)[:, None]
        if count < score.shape[1]:
            boxes = decode_boxes(dense.box[image, location], locations.xy[location], locations.stride[location])
            index = apart_first(boxes, score, self.box_nms, count)
            score, location = score.gather(1, index), location.gather(1, index)
        return Candidates(image.expand_as(location).flatten(), location.flatten()), score

    def candidates_of(self, look: Look) -> int:
        """How many of an image are looked at, unless it has fewer locations."""
        return max(1, round(self.topk * look.candidates))

    def _area(self, of_box: Tensor) -> Tensor:
        return of_box * self.area_ratio.float()

    def forward(self, candidates: CandidatePredictions, score: Tensor, look: Look = EVERYBODY) -> People:
        """Everything but the cut to people, over raw tensors with static shapes.

        Of one look of two nobody is suppressed: :meth:`unite` does it for both.

        Args:
            candidates: those of :meth:`select`, projected: B times N.
            score: (B, N) from :meth:`select`.
            look: for whom.
        """
        shape, poses, boxes = score.shape, candidates.poses, candidates.boxes
        count = poses.mu.shape[1]  # of joints; there may be no candidates to infer it from
        area = self._area(box_area(boxes))
        joints = poses.mu + poses.scale * self.mean[self.group]
        std = self.std[self.group]
        visibility = None if poses.visibility is None else torch.sigmoid(poses.visibility)
        sigmas = self._corrected(poses.scale * std, area, look.zoom, visibility)
        expected = self._expected_oks(sigmas / std, area)  # (B N, K)
        presence = torch.sigmoid(poses.presence)
        person_oks = (presence * expected).sum(1) / presence.sum(1).clamp(min=1e-6)
        person = torch.sigmoid(candidates.score)
        quality = torch.ones_like(person) if candidates.quality is None else torch.sigmoid(candidates.quality)
        score = score * person_oks.view(shape).pow(self.oks_power)
        boxes, area = boxes.view(*shape, 4), area.view(shape)
        joints = torch.cat([joints, expected[..., None]], -1).view(*shape, count, 3)
        return People(
            boxes=boxes,
            scores=score,
            factors=torch.stack([person, quality, person_oks], -1).view(*shape, 3),
            joints=joints,
            sigmas=sigmas.view(*shape, count, 2),
            presence=presence.view(*shape, count),
            areas=area,
            kept=torch.ones_like(score, dtype=torch.bool) if self.use_peaks or look != EVERYBODY
            else self._unique(boxes, joints[..., :2], area, score),
            visibility=None if visibility is None else visibility.view(*shape, count),
            correlations=self.correlation[self.group].expand(*shape, -1),
            space=None if poses.depth is None or self.space is None else self.space(poses.depth, shape),
        )  # fmt: skip

    def looks(self, limit: float) -> tuple[Look, Look]:
        """For whom an image is looked at, and the same image at half size; each in its own pixels.

        Args:
            limit: size (square root of the area, in pixels of the network's input) from which people are those of the
                half image. Up to ``OVERLAP`` times as large those of the whole one count too, so that nobody falls
                between them.
        """
        return Look(0.0, self.OVERLAP * limit, 1.0), Look(limit / 2, float("inf"), self.FEW, zoom=2.0)

    def unite(self, whole: People, half: People) -> People:
        """People of an image, and of the same image at half size in its own pixels, without duplicates.

        Returns:
            All candidates, in pixels of the whole image.
        """
        half = half._replace(
            boxes=2 * half.boxes, joints=torch.cat([2 * half.joints[..., :2], half.joints[..., 2:]], -1),
            sigmas=2 * half.sigmas, areas=4 * half.areas,
        )  # fmt: skip
        pairs: Any = zip(whole[:-1], half[:-1])
        joined: Any = [None if one is None else torch.cat([one, other], 1) for one, other in pairs]
        deep = whole.space and half.space and whole.space.joined(half.space.at_double_size())
        both = People(*joined)._replace(space=deep)
        apart = None
        if self.use_peaks:  # peaks of one map are different people
            first = torch.arange(both.scores.shape[1], device=both.scores.device) < whole.scores.shape[1]
            apart = first[:, None] != first
        kept = self._unique(both.boxes, both.joints[..., :2], both.areas, both.scores, apart)
        return both._replace(kept=kept)

    def _expected_oks(self, scale: Tensor, area: Tensor) -> Tensor:
        nodes, weights = self.folded_nodes[0], self.folded_weights[0]
        if len(self.folded_nodes) > 1:
            nodes, weights = self.folded_nodes[self.group], self.folded_weights[self.group]
        return expected_joint_oks(scale, area, self.oks_sigmas, nodes, weights)

    def _unique(
        self, boxes: Tensor, joints: Tensor, area: Tensor, score: Tensor, among: Tensor | None = None
    ) -> Tensor:
        """Who is kept; ``among``: (N, N) which pairs are compared, all unless given."""
        overlap = torch.zeros(*score.shape, score.shape[1], device=score.device)
        if self.box_nms < 1:
            overlap = torch.maximum(overlap, box_overlap(boxes) / max(self.box_nms, 1e-6))
        if self.oks_nms < 1:
            overlap = torch.maximum(overlap, pose_overlap(joints, area, self.oks_sigmas) / max(self.oks_nms, 1e-6))
        return suppress(overlap if among is None else overlap * among, score, 1.0)

    def to_instances(
        self,
        people: People,
        image_sizes: Sequence[tuple[int, int]],
        output_sizes: Sequence[tuple[int, int]],
        cameras: Sequence[Camera | None] = (),
    ) -> list[Instances]:
        """Detectron2's ``Instances``, best first, in the pixels of ``output_sizes`` (height, width).

        Who lies outside of the image, so that nothing is left of the box, is left out.

        Args:
            people: of B images.
            image_sizes: (height, width) of each input without padding.
            output_sizes: (height, width) of each output, as the dataset dicts ask for them.
            cameras: of each output, where they are known.
        """
        sizes = people.boxes.new_tensor([image_sizes, output_sizes]).flip(-1)  # (2, B, 2) width, height
        cut, order, count = self.rank(people, *sizes)
        # One transfer of one table, whatever the number of images and people.
        result = []
        for row, (index, number) in enumerate(zip(order, count.tolist())):
            index, scale = index[:number], sizes[1, row] / sizes[0, row]
            found = found_people(people, cut, row, index, scale)
            instances = Instances(tuple(output_sizes[row]))
            instances.pred_boxes = Boxes(found.boxes)
            instances.scores = found.scores
            instances.pred_score_factors = found.factors
            instances.pred_classes = torch.zeros_like(index)
            instances.pred_keypoints = found.keypoints
            instances.pred_keypoint_sigmas = found.sigmas
            if found.covariances is not None:
                instances.pred_keypoint_covariances = found.covariances
            instances.pred_keypoint_presence = found.presence
            if found.visibility is not None:
                instances.pred_keypoint_visibility = found.visibility
            instances.pred_areas = found.areas
            if people.space is not None and self.space is not None:
                self.space.to_fields(instances, people.space.at(row, index), scale, cameras[row] if cameras else None)
            result.append(instances)
        return result

    def rank(self, people: People, inputs: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Who is reported, over raw tensors with static shapes.

        Args:
            people: of B images.
            inputs: (B, 2) width and height of each input without padding.
            outputs: (B, 2) of each output.

        Returns:
            The boxes (B, N, 4) in pixels of the outputs, cut at their borders; indices (B, N') int64 of those who are
            kept, best first, before all others; and how many are kept (B,) int64. N' is at most ``max_people``.
        """
        scales, limit = outputs / inputs, outputs.repeat(1, 2)[:, None]
        cut = torch.minimum((people.boxes * scales.repeat(1, 2)[:, None]).clamp(min=0), limit)  # (B, N, 4)
        within = (cut[..., 2:] > cut[..., :2]).all(-1)
        kept = people.kept & (people.scores > self.score_thresh) & within
        order = torch.where(kept, people.scores, -1.0).topk(min(self.max_people, kept.shape[1]), dim=1).indices
        return cut, order, kept.long().gather(1, order).sum(1)
