"""People in videos as JSON lines: written frame by frame while the video runs, read back as arrays.

A file is one JSON object a line. The first has ``"type": "header"`` and says ``source, width, height, fps, skeleton,
keypoints`` (names), ``limbs`` (pairs of their numbers, from 1) and, of sigmas that are the model's own, ``half_widths``
and ``ellipse_radii`` (see :func:`~.joint_factors.density_factors`). The last has ``"type": "end"`` and ``frames``
(their number, since frames without people have no line). Each line between is one person of one frame, a COCO result
(see :func:`~.results.instances_to_coco`) with ``frame`` (from 0 on, also the ``image_id``), ``time`` (seconds since the
first frame) and, where people are tracked, ``track_id`` and ``predicted`` (true for people who were not found in this
frame, but predicted from their motion).
Files of earlier versions say ``carried`` instead, which is read as well.
"""

import contextlib
import json
import logging
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from detectron2.structures import Instances

from ..data.coco.json_files import is_number
from ..errors import DataError, MediaError, counted
from ..structures.covariance import unpacked
from ..utils.output_files import OutputFile, check_target
from ..utils.whole_numbers import is_whole
from .results import Result, boxes_array, instances_to_coco, without_nan

logger = logging.getLogger(__name__)

_EXACT = 2**53  # whole numbers below it are exact as JSON has them

_TRACKED = {"ID": "track_id", "predicted": "predicted"}  # fields of Instances and keys
_PER_JOINT = {"keypoint_sigmas": 2, "keypoint_covariances": 3, "keypoint_visibility": 1}  # numbers of a joint
_OLD_KEYS = {"carried": "predicted"}  # of earlier versions


class TrackWriter:
    """Writes a file of JSON lines under a temporary name, renamed on leaving, however the run ends.

    Lines go to the disk whole, a frame at a time; through a device or pipe they go out at once.

    Args:
        path: of the file; its folder is made.
        header: what the first line says beside its type.

    Attributes:
        path: of the file.
        frames: how many were written.

    Raises:
        MediaError: it cannot be written. On a full disk the whole lines that were written stay under the path.
    """

    def __init__(self, path: str, header: dict[str, Any]) -> None:
        self.path, self.frames = path, 0
        self._size = 0
        check_target(path, "--json")
        try:
            os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
            self._output = OutputFile(path)
        except OSError as error:
            raise MediaError(f"{path} cannot be written ({error.strerror}); choose another file with --json") from error
        self._write([{"type": "header", **header}])

    def write(self, people: Instances, frame: int, time: float) -> None:
        """Append the people of a frame.

        Args:
            people: with the fields ``ID`` and ``predicted`` (N,) each gets its ``track_id`` and ``predicted``.
            frame: number of the frame, from 0 on.
            time: seconds since the first frame.
        """
        results = instances_to_coco(people, frame)
        extra = {key: people.get(name).tolist() for name, key in _TRACKED.items() if people.has(name)}
        lines = [
            {"frame": frame, "time": round(time, 6), **{key: values[i] for key, values in extra.items()}, **result}
            for i, result in enumerate(results)
        ]
        self._write(lines)
        self.frames += 1

    def _write(self, lines: Sequence[dict[str, Any]]) -> None:
        """Append lines; where that fails, those before stay."""
        if not lines:
            return
        data = "".join(json.dumps(without_nan(line), allow_nan=False) + "\n" for line in lines).encode()
        try:
            self._output.write(data)
        except OSError as error:
            self._finish()
            raise MediaError(
                f"{self.path} cannot be written on ({error.strerror}) after {counted(self.frames, 'frame')}, "
                "which stay there; make room or choose another file with --json"
            ) from error
        self._size += len(data)

    def close(self) -> None:
        """Write the last line and give the file its name."""
        if not self._output.file.closed:
            self._write([{"type": "end", "frames": self.frames}])
            self._finish()

    def _finish(self) -> None:
        """Cut off a line that was not written whole, and rename."""
        if self._output.file.closed:
            return
        if not self._output.through:
            with contextlib.suppress(OSError):
                self._output.file.truncate(self._size)
        try:
            self._output.commit()
        except OSError as error:
            place = f"; it stays as {self._output.temporary}" if self._output.temporary else ""
            raise MediaError(f"{self.path} cannot be completed ({error.strerror}){place}") from error

    def __enter__(self) -> "TrackWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Tracks(NamedTuple):
    """People of a video; row i of each array is one person of one frame.

    Boxes, joints and sigmas are in the file's coordinates, pixel indices as in COCO.
    """

    frame: np.ndarray  # (N,) int64
    time: np.ndarray  # (N,) seconds
    track_id: np.ndarray  # (N,) int64, -1 where people were not tracked
    predicted: np.ndarray  # (N,) bool: not found in this frame, but predicted from their motion
    boxes: np.ndarray  # (N, 4) x0, y0, x1, y1
    scores: np.ndarray  # (N,)
    keypoints: np.ndarray  # (N, K, 3) x, y, expected OKS
    sigmas: np.ndarray  # (N, K, 2) standard deviations, NaN where there are none
    covariances: np.ndarray  # (N, K, 2, 2) NaN where there are none, as in files of earlier versions
    visibility: np.ndarray  # (N, K) probabilities of being visible, NaN where there are none
    header: dict[str, Any]  # the first line; may be empty
    frames: int | None  # number of frames, also those without people; None where the file was cut off

    def track(self, track_id: int) -> "Tracks":
        """The rows of one track, by frame.

        Args:
            track_id: its id.

        Raises:
            DataError: nobody has it.
        """
        rows = np.flatnonzero(self.track_id == track_id)
        if not rows.size:
            known = ", ".join(map(str, self.ids[:10])) + ", ..." * (len(self.ids) > 10)
            raise DataError(f"nobody has the identity {track_id}; `ids` has {known or 'none'}")
        rows = rows[np.argsort(self.frame[rows], kind="stable")]
        fields = self._asdict().items()
        arrays: dict[str, Any] = {name: value[rows] for name, value in fields if isinstance(value, np.ndarray)}
        return self._replace(**arrays)

    @property
    def ids(self) -> list[int]:
        """The ids of all tracks, in order."""
        return [int(i) for i in np.unique(self.track_id) if i >= 0]


def read_tracks(path: str | os.PathLike[str]) -> Tracks:
    """Read what :class:`TrackWriter` wrote: the file of ``rle-onestage demo --video-input V --json FILE``.

    Each line is a JSON object. Who reads the file without this function finds, by ``type``:

    - ``"header"``, the first line: ``source`` (the video's name), ``width`` and ``height`` (pixels), ``fps``,
      ``skeleton`` (the name of the set of joints) and ``keypoints`` (the joints' names, in the order of the numbers
      below);
    - ``"end"``, the last line: ``frames``, their number; it is missing where the process was killed;
    - no ``type``: one person of one frame, a COCO result with ``frame`` (from 0 on), ``time`` (seconds),
      ``keypoints`` (x, y and expected OKS of each joint), ``keypoint_sigmas`` (pixels, x and y of each joint) and, of
      tracked people, ``track_id`` and ``predicted``.

    A last line that was cut in half, by a process that was killed, is left out with a warning.

    Args:
        path: of the file.

    Raises:
        DataError: the file is missing, or a line is bad: names file and line.
    """
    try:
        with open(path, "rb") as file:
            lines = file.read().split(b"\n")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); give what --json wrote of a video") from error
    people: list[Result] = []
    header: dict[str, Any] = {}
    frames: int | None = None
    joints: int | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number == len(lines):  # no line end behind it
                logger.warning("%s: line %d was cut off and is left out", path, number)
                continue
            raise DataError(f"{path}, line {number} is no JSON ({error}); write the file anew") from error
        if isinstance(item, dict) and item.get("type") == "header":
            if not isinstance(item.get("keypoints", []), list):
                raise DataError(f"{path}, line {number} has no list of 'keypoints'; give what --json wrote of a video")
            header = item
        elif isinstance(item, dict) and item.get("type") == "end":
            frames = item.get("frames")
            if frames is not None and not is_whole(frames, -_EXACT, _EXACT):
                raise DataError(f"{path}, line {number} has no usable 'frames'; give what --json wrote of a video")
        else:
            item = _by_new_keys(item)
            joints = _check(item, joints, f"{path}, line {number}")
            people.append(item)
    if not people and not header:
        raise DataError(f"{path} has neither a header nor people; give what --json wrote of a video")
    return _arrays(people, header, frames, joints)


def _by_new_keys(item: Any) -> Any:
    """A person's line with the keys of this version."""
    return {_OLD_KEYS.get(key, key): value for key, value in item.items()} if isinstance(item, dict) else item


def _check(item: Any, joints: int | None, where: str) -> int:
    """The number of joints of a person's line, which must be that of the lines before."""
    numbers: dict[str, int | None] = {"frame": 0, "time": 0, "score": 0, "bbox": 4, "keypoints": None}
    for key, length in numbers.items():
        value = item.get(key) if isinstance(item, dict) else None
        values = value if isinstance(value, list) else [value]
        if value is None or (key == "keypoints") > isinstance(value, list) or not all(map(_is_number, values)):
            raise DataError(f"{where} has no usable {key!r}; give what --json wrote of a video")
        if length is not None and length != (len(value) if isinstance(value, list) else 0):
            raise DataError(f"{where} has a {key!r} of the wrong length; give what --json wrote of a video")
    for key in ("track_id", "frame"):
        if not is_whole(item.get(key, -1), -_EXACT, _EXACT):
            raise DataError(f"{where} has a {key!r} that is no whole number; give what --json wrote of a video")
    if not isinstance(item.get("predicted", False), bool):
        raise DataError(f"{where} has a 'predicted' that is neither true nor false; give what --json wrote of a video")
    found = len(item["keypoints"]) // 3
    if 3 * found != len(item["keypoints"]) or (joints is not None and found != joints):
        raise DataError(f"{where} has {len(item['keypoints'])} numbers as keypoints, unlike the lines before")
    for key, each in _PER_JOINT.items():
        values = item.get(key)
        usable = isinstance(values, list) and len(values) == each * found and all(map(_is_number, values))
        if values is not None and not usable:
            raise DataError(f"{where} has no {each * found} numbers as {key!r}; give what --json wrote of a video")
    return found


def _is_number(value: Any) -> bool:
    """Whether something is a number, or what stands for one that JSON lacks."""
    return value is None or isinstance(value, float) or is_number(value)


def _arrays(people: Sequence[Result], header: dict[str, Any], frames: int | None, joints: int | None) -> Tracks:
    """The lines of people, which were checked, as arrays."""
    joints = len(header.get("keypoints", ())) if joints is None else joints

    def per_joint(key: str) -> np.ndarray:
        nothing = [None] * (_PER_JOINT[key] * joints)
        values = np.array([p.get(key) or nothing for p in people], dtype=float)
        return values.reshape(len(people), joints, _PER_JOINT[key])

    return Tracks(
        frame=np.array([p["frame"] for p in people], dtype=np.int64),
        time=np.array([p["time"] for p in people], dtype=float),
        track_id=np.array([p.get("track_id", -1) for p in people], dtype=np.int64),
        predicted=np.array([p.get("predicted", False) for p in people], dtype=bool),
        boxes=boxes_array(people),
        scores=np.array([p["score"] for p in people], dtype=float),
        keypoints=np.array([p["keypoints"] for p in people], dtype=float).reshape(len(people), joints, 3),
        sigmas=per_joint("keypoint_sigmas"),
        covariances=unpacked(per_joint("keypoint_covariances")),
        visibility=per_joint("keypoint_visibility")[..., 0],
        header=header,
        frames=frames,
    )
