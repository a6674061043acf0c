"""Clips with known identities: their labels, and tracks beside them, as flat NumPy arrays."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from rle_onestage.data.coco.json_files import load_json
from rle_onestage.errors import DataError, shown
from rle_onestage.evaluation.results import PIXEL_CENTRE
from rle_onestage.structures.oks import pairwise_oks


class Tracked(NamedTuple):
    """People of all frames of a clip, N in all, in the order of frames.

    ``frame`` (N,): number from 0. ``track_id`` (N,). ``keypoints`` (N, K, 2), pixels, origin at the first pixel's
    corner. ``sigmas`` (N, K, 2), pixels; (0,) where there are none.
    """

    frame: np.ndarray
    track_id: np.ndarray
    keypoints: np.ndarray
    sigmas: np.ndarray = np.empty(0)


class Clip(NamedTuple):
    """Labels of a clip.

    ``frames``: their number. ``rate``: frames a second. ``people``: :class:`Tracked`. ``labelled`` (N, K) bool: joints
    in the image. ``area`` (N,): square pixels.
    """

    frames: int
    rate: float
    people: Tracked
    labelled: np.ndarray
    area: np.ndarray


def read_clip(path: str | Path) -> Clip:
    """Read the labels of a video: COCO's with ``track_id`` and ``frame_index``, as ``make_synthetic.py`` writes.

    Raises:
        DataError: missing, no JSON, or something in it is missing or of a wrong kind.
    """
    try:
        data = load_json(str(path), str(path))
        frame_of = {image["id"]: image["frame_index"] for image in data["images"]}
        rows = sorted(data["annotations"], key=lambda a: (frame_of[a["image_id"]], a["track_id"]))
        joints = len(data["categories"][0]["keypoints"])
        keypoints = np.array([a["keypoints"] for a in rows], dtype=float).reshape(-1, joints, 3)
        return Clip(
            len(data["images"]),
            float(data["videos"][0]["rate"]),
            Tracked(
                np.array([frame_of[a["image_id"]] for a in rows], dtype=int),
                np.array([a["track_id"] for a in rows], dtype=int),
                keypoints[..., :2] + PIXEL_CENTRE,
            ),
            keypoints[..., 2] > 0,
            np.array([a["area"] for a in rows], dtype=float),
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:
        missing = f" (there is no {shown(error.args[0])})" if isinstance(error, KeyError) else ""
        raise DataError(
            f"{path} has no labels of a video{missing}; it needs COCO's images with id and frame_index, annotations "
            "with image_id, track_id, keypoints and area, categories with keypoints, and videos with rate"
        ) from error


def rows_by_frame(frame: np.ndarray, frames: int) -> list[slice]:
    """For each frame the slice of its rows in arrays that are ordered by frame."""
    edges = np.searchsorted(frame, np.arange(frames + 1))
    return [slice(a, b) for a, b in zip(edges[:-1], edges[1:])]


def similarities(clip: "Clip", tracked: "Tracked", sigmas: tuple[float, ...]) -> list[tuple[slice, slice, np.ndarray]]:
    """OKS of labels and tracks, frame by frame.

    Args:
        clip: :class:`Clip` with M people in a frame.
        tracked: :class:`Tracked` with N.
        sigmas: (K,) COCO's.

    Returns:
        list of (slice of the clip's rows, slice of the tracks' rows, (M, N) OKS), one a frame.
    """
    oks_sigmas = torch.as_tensor(np.asarray(sigmas, dtype=float))
    out = []
    for mine, theirs in zip(rows_by_frame(clip.people.frame, clip.frames), rows_by_frame(tracked.frame, clip.frames)):
        oks = pairwise_oks(
            torch.from_numpy(tracked.keypoints[theirs]), torch.from_numpy(clip.people.keypoints[mine]),
            torch.from_numpy(clip.labelled[mine]), torch.from_numpy(clip.area[mine]), oks_sigmas,
        )  # fmt: skip
        out.append((mine, theirs, oks.numpy().T))
    return out
