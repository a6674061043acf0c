"""People whom inference has found: all candidates in pixels of the input, and those who are reported."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..structures.covariance import covariance_of
from .space.decoding import PeopleInSpace


class People(NamedTuple):
    """N candidates of each image, duplicates marked; static shapes, in pixels of the network's input."""

    boxes: Tensor  # (B, N, 4)
    scores: Tensor  # (B, N)
    factors: Tensor  # (B, N, 3) person probability, quality (1 without the branch), the person's expected OKS
    joints: Tensor  # (B, N, K, 3) x, y, expected OKS
    sigmas: Tensor  # (B, N, K, 2) standard deviations
    presence: Tensor  # (B, N, K) probabilities
    areas: Tensor  # (B, N) predicted COCO areas
    kept: Tensor  # (B, N) bool, False for what is suppressed
    visibility: Tensor | None = None  # (B, N, K) probabilities; None without an opinion
    correlations: Tensor | None = None  # (B, N, K) of the errors in x and y; None: not known
    space: PeopleInSpace | None = None  # None without an opinion of depth


class Found(NamedTuple):
    """People who are reported, in pixels of the output; the fields of ``Instances`` without their prefixes."""

    boxes: Tensor  # (..., 4)
    scores: Tensor  # (...)
    factors: Tensor  # (..., 3)
    keypoints: Tensor  # (..., K, 3)
    sigmas: Tensor  # (..., K, 2)
    covariances: Tensor | None  # (..., K, 2, 2); None: not known
    presence: Tensor  # (..., K)
    visibility: Tensor | None  # (..., K); None without an opinion
    areas: Tensor  # (...)


class Look(NamedTuple):
    """The people whom one look at an image is for: their size (square root of the area) is in a range of pixels."""

    smallest: float
    largest: float
    candidates: float  # share of ``topk``
    zoom: float = 1.0  # pixels of the network's input in one of this look


EVERYBODY = Look(0.0, float("inf"), 1.0)


def found_people(people: People, cut: Tensor, image: Any, index: Tensor, scale: Tensor) -> Found:
    """Some of the people in the pixels of the output.

    Args:
        people: of B images.
        cut: (B, N, 4) their boxes, from :meth:`~.postprocessing.Decoder.rank`.
        image: which image, or one for each index.
        index: (...) int64 of the people.
        scale: (2,) of the output over the input, in x and y.
    """
    joints, sigmas = people.joints[image, index], people.sigmas[image, index] * scale
    related, visibility = people.correlations, people.visibility
    return Found(
        boxes=cut[image, index],
        scores=people.scores[image, index],
        factors=people.factors[image, index],
        keypoints=torch.cat([joints[..., :2] * scale, joints[..., 2:]], -1),
        sigmas=sigmas,
        covariances=None if related is None else covariance_of(sigmas, related[image, index]),
        presence=people.presence[image, index],
        visibility=None if visibility is None else visibility[image, index],
        # Of the whole box; that of a box cut at the border would be another one.
        areas=people.areas[image, index] * scale.prod(),
    )
