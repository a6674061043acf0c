"""Trackers and filters run over the detections of a clip."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from detectron2.structures import Instances

from rle_onestage.video.tracking import PoseTracker, TrackerOptions

from .clips import Tracked
from .filters import moving_average, one_euro
from .identity import identity_results
from .smoothness import match, smoothness

if TYPE_CHECKING:
    from rle_onestage.structures.skeleton import Skeleton
    from video_benchmark.clips import Clip
    from video_benchmark.detections import Found


class Variant(NamedTuple):
    """A way to follow and to smooth.

    ``options``: of the tracker. ``lag``: frames. ``smooth``: give the filter's joints. ``equal``: all sigmas are this
    share of the person's size; None: the network's.
    """

    options: TrackerOptions = TrackerOptions()
    lag: int = 0
    smooth: bool = True
    equal: float | None = None


class Run(NamedTuple):
    """What a variant made of a clip.

    ``found``: people who were found in the frame (not those who are predicted: hidden people have no labels), as the
    filter gives them; ``raw``: as they were found, row by row; ``sizes`` (N,) of the latter, pixels.
    """

    found: Tracked
    raw: Tracked
    sizes: np.ndarray


def run(variant: "Variant", clip: "Clip", detections: "Found", skeleton: "Skeleton") -> "Run":
    """Follow the people of a clip.

    Args:
        variant: :class:`Variant`.
        clip: :class:`~.clips.Clip`.
        detections: :class:`~.detections.Found`.
        skeleton: of the joints.

    Returns:
        :class:`Run`.
    """
    smooth, plain = (_follow(variant._replace(smooth=s), clip, detections, skeleton) for s in (variant.smooth, False))
    sizes = np.sqrt(np.concatenate([people.pred_areas.numpy() for people in plain]))
    return Run(_tracked(smooth), _tracked(plain), sizes)


def _equalised(people: Instances, share: float | None) -> Instances:
    if share is not None:
        size = people.pred_areas.clamp(min=1).sqrt()[:, None, None]
        people.pred_keypoint_sigmas = (share * size).expand_as(people.pred_keypoint_sigmas).clone()
    return people


def _follow(variant: "Variant", clip: "Clip", detections: "Found", skeleton: "Skeleton") -> list[Instances]:
    tracker = PoseTracker(skeleton, smooth=variant.smooth, lag=variant.lag, options=variant.options)
    out = []
    for number in range(clip.frames):
        out += tracker.push(_equalised(detections.people(number), variant.equal), number / clip.rate)
    return [people[~people.predicted] for people in out + tracker.finish()]


def identities(variant: "Variant", clip: "Clip", detections: "Found", skeleton: "Skeleton") -> list[dict]:
    """Results of a clip, of :func:`~.identity.identity_results`; see :func:`run`."""
    return identity_results(clip, _tracked(_follow(variant, clip, detections, skeleton)), skeleton.oks_sigmas)


def _tracked(frames: list[Instances]) -> "Tracked":
    ids = torch.cat([people.ID for people in frames])
    keypoints = torch.cat([people.pred_keypoints[..., :2] for people in frames])
    number = np.concatenate([np.full(len(people), i) for i, people in enumerate(frames)])
    sigmas = torch.cat([people.pred_keypoint_sigmas for people in frames])
    return Tracked(number, ids.numpy(), keypoints.double().numpy(), sigmas.double().numpy())


def metrics(
    variant: "Variant", clip: "Clip", detections: "Found", skeleton: "Skeleton"
) -> tuple[list[dict], dict[str, tuple]]:
    """Results of a clip, to be combined: (of :func:`~.identity.identity_results`,
    of :func:`~.smoothness.smoothness`)."""
    done = run(variant, clip, detections, skeleton)
    pairs = match(clip, done.raw, skeleton.oks_sigmas)
    smooth = smoothness(clip, pairs, done.found.keypoints, done.found.sigmas)
    return identity_results(clip, done.found, skeleton.oks_sigmas), smooth


def filtered(done: "Run", rate: float, name: str, **parameters: Any) -> np.ndarray:
    """The joints (N, K, 2) of a run's people by another filter: ``one_euro``, ``moving_average`` or ``none``."""
    out = done.raw.keypoints.copy()
    for track in np.unique(done.raw.track_id) if name != "none" else ():
        rows = np.flatnonzero(done.raw.track_id == track)
        times = done.raw.frame[rows] / rate
        if name == "one_euro":
            out[rows] = one_euro(out[rows], times, done.sizes[rows], **parameters)
        else:
            out[rows] = moving_average(out[rows], times, **parameters)
    return out


def with_options(variant: "Variant", **changes: Any) -> "Variant":
    """A variant with other options of the tracker."""
    return variant._replace(options=replace(variant.options, **changes))
