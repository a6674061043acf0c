"""The decoder of each rule: the product's, with a correlation that the network says, and with the rule's score."""

from collections.abc import Sequence

import torch
from detectron2.structures import Instances
from torch import Tensor

from rle_onestage.modeling.people import EVERYBODY, Look, People
from rle_onestage.modeling.postprocessing import Decoder
from rle_onestage.modeling.structures import CandidatePredictions, Poses
from rle_onestage.structures.root import Camera

from .losses import rf_detr_score
from .matrices import expected_oks, log_trace, precision_parts


class MatrixDecoder(Decoder):
    """Covariances and expected OKS of a scale matrix; the score is the product's."""

    # A turned error cannot be folded to one quadrant. With 20 bins the expected OKS is out by up to 0.015, with 40 by
    # 0.001.
    TABLE = 40

    def forward(self, candidates: CandidatePredictions, score: Tensor, look: Look = EVERYBODY) -> People:
        """As :meth:`Decoder.forward`, with the network's correlation in it."""
        people = super().forward(candidates, score, look)
        correlation = self.correlations_of(candidates.poses).view(*score.shape, -1)
        full = self.weights[0] > 0
        nodes, weights = self.nodes[0, full], self.weights[0, full]
        expected = expected_oks(people.sigmas, correlation, people.areas, self.oks_sigmas, nodes, weights)
        presence = people.presence
        person_oks = (presence * expected).sum(-1) / presence.sum(-1).clamp(min=1e-6)
        scores = self.own_score(score, person_oks, presence, candidates.poses)
        joints = torch.cat([people.joints[..., :2], expected[..., None]], -1)
        apart = self.use_peaks or look != EVERYBODY
        return people._replace(
            scores=scores,
            factors=torch.cat([people.factors[..., :2], person_oks[..., None]], -1),
            joints=joints,
            kept=people.kept if apart else self._unique(people.boxes, joints[..., :2], people.areas, scores),
            correlations=correlation,
        )

    def correlations_of(self, poses: Poses) -> Tensor:
        """(P, K) of x and y."""
        assert poses.more is not None  # for the type checker: the rule's head gives it
        return torch.tanh(poses.more[..., 0])

    def own_score(self, score: Tensor, person_oks: Tensor, presence: Tensor, poses: Poses) -> Tensor:
        """(B, N) from the person's score (B, N), its expected OKS (B, N) and presence (B, N, K)."""
        return score * person_oks.pow(self.oks_power)


class RFDETRDecoder(MatrixDecoder):
    """The covariance of the precision times the predicted box's area; the score is lowered by the mean trace.

    The config's power of the expected OKS turns that on and off.
    """

    def correlations_of(self, poses: Poses) -> Tensor:
        """(P, K) of x and y."""
        assert poses.more is not None  # for the type checker: the rule's head gives it
        return precision_parts(poses.more)[1]

    def own_score(self, score: Tensor, person_oks: Tensor, presence: Tensor, poses: Poses) -> Tensor:
        """See :func:`~.losses.rf_detr_score`."""
        assert poses.more is not None  # for the type checker: the rule's head gives it
        if not self.oks_power:
            return score
        return rf_detr_score(score, log_trace(poses.more).view(*score.shape, -1), presence)


class PublishedDecoder(RFDETRDecoder):
    """The covariance as RF-DETR hands it out: times the input's sides where the loss divides by the box's area.

    Its input is a square; ours is the square that holds the image.
    """

    def to_instances(
        self,
        people: People,
        image_sizes: Sequence[tuple[int, int]],
        output_sizes: Sequence[tuple[int, int]],
        cameras: Sequence[Camera | None] = (),
    ) -> list[Instances]:
        """As :meth:`Decoder.to_instances`."""
        side = people.areas.new_tensor([float(max(size)) for size in image_sizes])
        box = (people.areas / self.area_ratio).clamp(min=1.0)
        wider = published_factor(side[:, None], box)
        return super().to_instances(
            people._replace(sigmas=people.sigmas * wider[..., None, None]), image_sizes, output_sizes, cameras
        )


def published_factor(side: Tensor, box_area: Tensor) -> Tensor:
    """How much too large RF-DETR's ellipses are: ``side / sqrt(box_area)``, (...) of pixels and square pixels."""
    return side / box_area.sqrt()
