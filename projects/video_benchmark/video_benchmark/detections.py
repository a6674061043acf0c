"""What a model finds in every frame of every clip, kept in files: trackers are compared on the same detections."""

import os
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from detectron2.structures import Boxes, Instances

from rle_onestage.errors import DataError
from rle_onestage.video.io import VideoReader

from .clips import Clip, read_clip

_FIELDS = {
    "boxes": "pred_boxes", "scores": "scores", "keypoints": "pred_keypoints", "sigmas": "pred_keypoint_sigmas",
    "presence": "pred_keypoint_presence", "areas": "pred_areas",
}  # fmt: skip


class Found(NamedTuple):
    """People found in a clip, N in all, in the order of frames.

    ``frame`` (N,); ``boxes`` (N, 4); ``scores`` (N,); ``keypoints`` (N, K, 3); ``sigmas`` (N, K, 2); ``presence`` (N,
    K); ``areas`` (N,): pixels, as in a predictor's ``Instances``. ``size`` (2,): height and width of the frames.
    """

    frame: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    keypoints: np.ndarray
    sigmas: np.ndarray
    presence: np.ndarray
    areas: np.ndarray
    size: np.ndarray

    def people(self, frame: int) -> Instances:
        """The ``Instances`` of one frame."""
        first, last = np.searchsorted(self.frame, (frame, frame + 1))
        out = Instances(tuple(self.size.tolist()))
        for name, field in _FIELDS.items():
            value = torch.from_numpy(getattr(self, name)[first:last])
            out.set(field, Boxes(value) if name == "boxes" else value)
        return out


def find_clips(folder: str) -> dict[str, tuple[str, str]]:
    """The clips of a set of ``datasets/make_synthetic.py``: dict name -> (video, labels).

    Raises:
        DataError: there are none.
    """
    labels = os.path.join(folder, "annotations", "videos")
    names = sorted(os.listdir(labels)) if os.path.isdir(labels) else []
    clips = {}
    for name in (os.path.splitext(name)[0] for name in names):
        videos = [os.path.join(folder, "videos", name + ending) for ending in (".mp4", ".mkv", ".avi")]
        found = [video for video in videos if os.path.isfile(video)]
        if found:
            clips[name] = found[0], os.path.join(labels, f"{name}.json")
    if not clips:
        raise DataError(f"{folder} has no videos with labels; make them with datasets/make_synthetic.py --preset clips")
    return clips


def detect(predictor: Callable[[np.ndarray], Instances], folder: str, output: str) -> Iterator[tuple[str, float]]:
    """Run a predictor over all clips; those that are done already are left as they are.

    Args:
        predictor: image -> ``Instances``.
        folder: of the clips.
        output: folder of the files, one a clip.

    Yields:
        name of each clip and the mean number of people in a frame, when it is done.
    """
    os.makedirs(output, exist_ok=True)
    for name, (video, _) in find_clips(folder).items():
        path = os.path.join(output, f"{name}.npz")
        if not os.path.isfile(path):
            with VideoReader(video) as frames:
                people = [predictor(frame.image) for frame in frames]
            _save(path, people)
        found = load(path)
        yield name, len(found.scores) / max(int(found.frame.max(initial=-1)) + 1, 1)


def _save(path: str, people: list[Instances]) -> None:
    columns: dict[str, list] = {name: [] for name in _FIELDS}
    for one in people:
        for name, field in _FIELDS.items():
            value = one.get(field)
            columns[name].append((value.tensor if name == "boxes" else value).numpy())
    # Any: NumPy 1.24 does not know the option that the newest types warn of.
    arrays: dict[str, Any] = {name: np.concatenate(parts) for name, parts in columns.items()}
    arrays["frame"] = np.concatenate([np.full(len(one), i) for i, one in enumerate(people)])
    arrays["size"] = np.array(people[0].image_size)
    temporary = f"{path}.tmp{os.getpid()}.npz"
    np.savez_compressed(temporary, **arrays)
    os.replace(temporary, path)


def load(path: str) -> Found:
    """Read the people found in a clip.

    Raises:
        DataError: the file is missing or is something else.
    """
    try:
        with np.load(path) as data:
            return Found(*(data[name] for name in Found._fields))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} cannot be read as detections ({error}); make it with benchmark_video.py detect"
        ) from error


def load_all(folder: str, detections: str) -> dict[str, tuple[Clip, Found]]:
    """Labels and detections of a folder's clips: dict name -> (:class:`~.clips.Clip`, :class:`Found`)."""
    return {
        name: (read_clip(labels), load(os.path.join(detections, f"{name}.npz")))
        for name, (_, labels) in find_clips(folder).items()
    }
