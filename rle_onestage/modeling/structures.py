"""What the rooms of the model hand to one another.

Shape letters: ``B`` images, ``L`` levels, ``R`` locations of all levels, ``P`` candidates, ``M`` people in one
image, ``N`` detections, ``K`` joints, ``C`` channels.
"""

from typing import NamedTuple

from torch import Tensor


class DenseOutputs(NamedTuple):
    """What the head says at every location."""

    score: Tensor  # (B, R) logits of whether a person is there
    quality: Tensor  # (B, R) logits, or an empty tensor without the branch
    box: Tensor  # (B, R, 4) left, top, right, bottom distances in strides, positive
    pose: Tensor  # (B, R, C) features of which embeddings are made


class Candidates(NamedTuple):
    """Locations at which poses are projected: flat pairs of indices."""

    image: Tensor  # (P,) int64, index into the batch
    location: Tensor  # (P,) int64, index into R


class Depths(NamedTuple):
    """Depth of joints relative to the person's root, and the person's size; see
    :mod:`rle_onestage.modeling.space`."""

    mu: Tensor  # (P, K) in pixels of the network's input, positive behind the root
    scale: Tensor  # (P, K) of the preset, in pixels, positive
    pixel_size: Tensor  # (P,) log of the millimetres of a pixel at the root
    pixel_size_scale: Tensor  # (P,) standard deviation of that log

    def rows(self, index: Tensor) -> "Depths":
        """Those at ``index`` (n,) int64, or where it is true (P,)."""
        return Depths(*(part[index] for part in self))


class Poses(NamedTuple):
    """Poses at candidates, in pixels of the network's input."""

    mu: Tensor  # (P, K, 2)
    scale: Tensor  # (P, K, 2), spread of the preset, positive
    presence: Tensor  # (P, K) logits
    visibility: Tensor | None = None  # (P, K) logits that a labelled joint is visible; None without an opinion
    # (P, K, E) further numbers that a head of the user's own says, for a criterion and a decoder of their own.
    more: Tensor | None = None
    depth: Depths | None = None  # None without an opinion

    def rows(self, index: Tensor) -> "Poses":
        """The poses at ``index`` (n,) int64, or where it is true (P,)."""
        visibility, more = (None if part is None else part[index] for part in (self.visibility, self.more))
        depth = None if self.depth is None else self.depth.rows(index)
        return Poses(self.mu[index], self.scale[index], self.presence[index], visibility, more, depth)


class CandidatePredictions(NamedTuple):
    """What the network says at P candidates. Boxes are decoded once, and go with the poses from then on."""

    indices: Candidates
    boxes: Tensor  # (P, 4) x0, y0, x1, y1 in pixels of the network's input, with gradient
    score: Tensor  # (P,) logits
    quality: Tensor | None  # (P,) logits; None without the branch
    embedding: Tensor  # (P, C) float32
    poses: Poses

    def rows(self, index: Tensor) -> "CandidatePredictions":
        """The candidates at ``index`` (n,) int64."""
        return CandidatePredictions(
            indices=Candidates(*(field[index] for field in self.indices)),
            boxes=self.boxes[index],
            score=self.score[index],
            quality=None if self.quality is None else self.quality[index],
            embedding=self.embedding[index],
            poses=self.poses.rows(index),
        )


class Stage(NamedTuple):
    """Poses of one stage of the refinement in training, and which candidate each belongs to."""

    poses: Poses  # of n rows
    candidate: Tensor  # (n,) int64, which of the P


class Refined(NamedTuple):
    """What the refinement says in training."""

    stages: list[Stage]  # one for each pass
    denoised: Stage | None  # the pass from noisy true joints
    heat: Tensor | None  # (B, K, H, W) logits of the auxiliary heatmaps


NOT_REFINED = Refined([], None, None)


class Predictions(NamedTuple):
    """All that the network says about a batch in training."""

    dense: DenseOutputs
    candidates: CandidatePredictions
    refined: Refined


class Targets(NamedTuple):
    """Ground truth of the whole batch, padded to the largest number of people."""

    valid: Tensor  # (B, M) bool
    boxes: Tensor  # (B, M, 4) x0, y0, x1, y1
    joints: Tensor  # (B, M, K, 2)
    labelled: Tensor  # (B, M, K) bool
    area: Tensor  # (B, M) COCO's area (the segment's where known)
    ignore: Tensor  # (B, G, 4) boxes of crowds; rows of zeros are padding
    known: Tensor  # (B, M, K) bool, whether it is known if the joint is in the image
    area_known: Tensor  # (B, M) bool, whether the area was measured
    weight: Tensor  # (B, M) how much the person counts
    regions: Tensor  # (B, S, 6 + K) boxes, weight, whether labelled in part, which joints are labelled; 0 is padding
    visible: Tensor  # (B, M, K) bool, labelled and not hidden
    told: Tensor  # (B, M) bool, whether the person's labels tell hidden joints from visible ones
    depth: Tensor | None = None  # (B, M, K) relative to the root, pixels; NaN: not known; None: nobody's is
    pixel_size: Tensor | None = None  # (B, M) millimetres of a pixel at the root; NaN: not known
