"""Human3.6M in the COCO-format files that its users have (3DMPPE, I2L-MeshNet, Pose2Mesh and others).

Each subject has ``Human36M_subject9_data.json`` (images with ``subject``, ``action_idx``, ``subaction_idx``,
``cam_idx`` and ``frame_idx``; annotations with boxes), ``Human36M_subject9_camera.json`` (``R``, ``t`` in millimetres,
``f``, ``c`` of each camera) and ``Human36M_subject9_joint_3d.json`` (action, sub-action, frame -> 17 joints in the
world's axes, millimetres). Earlier files have ``cam_param`` in images and ``keypoints_world`` or ``keypoints_cam`` in
annotations, and need no others.

Layouts: ``h36m`` is all frames of the one subject, ``h36m_train`` subjects 1, 5, 6, 7 and 8 with every 5th frame, and
``h36m_test`` subjects 9 and 11 with every 64th. The last two are named by their first subject's file.
"""

import contextlib
import os
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ...errors import DataError, shown
from ...structures.skeleton import H36M

_FILES = "Human36M_subject1_data.json and its like, with _camera.json and _joint_3d.json beside them"
_NAME = re.compile(r"(?P<stem>.*subject)(?P<subject>\d+)(?P<end>_data)?\.json", re.IGNORECASE | re.DOTALL)
ACTIONS = (
    "Directions", "Discussion", "Eating", "Greeting", "Phoning", "Posing", "Purchases", "Sitting", "SittingDown",
    "Smoking", "Photo", "Waiting", "Walking", "WalkDog", "WalkTogether",
)  # fmt: skip
_FIRST = 2  # the number of the first action; 1 is a calibration
CENTRE = 0.5  # their pixels count from the middle of the first one


class Part(NamedTuple):
    """Subjects and frames of a layout."""

    subjects: tuple[int, ...]  # none: that of the file
    every: int  # which frames


PARTS = {"h36m": Part((), 1), "h36m_train": Part((1, 5, 6, 7, 8), 5), "h36m_test": Part((9, 11), 64)}


def h36m_as_coco(layout: str, data: Any, source: str, load: Callable[[str, str], Any]) -> dict[str, Any]:
    """The content of a layout's files in COCO's form, with ``keypoints_3d`` and cameras.

    Args:
        layout: of :data:`PARTS`.
        data: the parsed file of the first subject.
        source: its path.
        load: reads another JSON file, by its path and its name in messages.

    Raises:
        DataError: a file is missing or has another layout.
    """
    part, found = PARTS[layout], _NAME.fullmatch(source)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    if part.subjects and (not found or int(found["subject"]) != part.subjects[0]):
        raise DataError(
            f"{source} is not that of subject {part.subjects[0]}, with which {layout} begins; give {_FILES}"
        )
    for subject in part.subjects or (None,):
        path = source
        if found and subject is not None:
            path = f"{found['stem']}{subject}{found['end'] or ''}.json"
        content = data if path == source else load(path, path)
        _add(_Subject(path, content, load), part.every, images, annotations)
    if not images:
        raise DataError(f"{source} has no frame whose number is a multiple of {part.every}; give {_FILES}")
    limbs = [[a + 1, b + 1] for a, b in H36M.limbs]
    category = {"id": 1, "name": "person", "keypoints": list(H36M.names), "skeleton": limbs}
    return {"images": images, "annotations": annotations, "categories": [category]}


class _Subject:
    """The files of one subject.

    Args:
        path: of the data file.
        content: of it.
        load: reads another file.
    """

    def __init__(self, path: str, content: Any, load: Callable[[str, str], Any]):
        if not isinstance(content, dict) or not all(
            isinstance(content.get(k), list) for k in ("images", "annotations")
        ):
            raise DataError(f"{path} is not in Human3.6M's layout: it has no lists `images` and `annotations`; give "
                            f"{_FILES}")  # fmt: skip
        self.path, self.images, self.annotations, self.load = path, content["images"], content["annotations"], load
        self._beside: dict[str, Any] = {}

    def beside(self, ending: str) -> Any:
        """The file with another ending beside the subject's."""
        if ending not in self._beside:
            path = re.sub(r"(_data)?\.json$", f"_{ending}.json", self.path)
            if not os.path.isfile(path):
                raise DataError(f"{self.path} needs {path}, which is not there; give {_FILES}")
            self._beside[ending] = self.load(path, path)
        return self._beside[ending]

    def camera(self, image: dict[str, Any]) -> dict[str, Any]:
        """R, t, f and c of an image."""
        entry = image.get("cam_param")
        if entry is None:
            entry = self._at("camera", (image.get("cam_idx"),), image)
        if not isinstance(entry, dict):
            raise self._wrong(image, "its camera is no dictionary")
        return entry

    def joints(self, image: dict[str, Any], annotation: dict[str, Any]) -> np.ndarray:
        """(17, 3) in the camera's axes, millimetres."""
        own = annotation.get("keypoints_cam")
        if own is not None:
            return self._array(own, (-1, 3), image)[: H36M.num_joints]
        world = annotation.get("keypoints_world")
        if world is None:
            keys = (image.get("action_idx"), image.get("subaction_idx"), image.get("frame_idx"))
            world = self._at("joint_3d", keys, image)
        points, camera = self._array(world, (-1, 3), image)[: H36M.num_joints], self.camera(image)
        return points @ self._array(camera.get("R"), (3, 3), image).T + self._array(camera.get("t"), (3,), image)

    def intrinsics(self, image: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """Focal lengths (2,) and principal point (2,), in pixels from the middle of the first one."""
        camera = self.camera(image)
        return self._array(camera.get("f"), (2,), image), self._array(camera.get("c"), (2,), image)

    def _at(self, ending: str, keys: tuple, image: dict[str, Any]) -> Any:
        entry = self.beside(ending)
        for key in keys:
            entry = entry.get(str(key)) if isinstance(entry, dict) else None
        if entry is None:
            where = ", ".join(map(str, keys))
            raise self._wrong(image, f"{os.path.basename(self.path)} has no _{ending} entry {where}")
        return entry

    def _array(self, value: Any, shape: tuple[int, ...], image: dict[str, Any]) -> np.ndarray:
        array: np.ndarray = np.full(1, np.nan)
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            array = np.array(value, dtype=float).reshape(shape)
        if not np.isfinite(array).all():
            raise self._wrong(image, f"{shown(value, 60)} is not {' x '.join(map(str, shape))} finite numbers")
        return array

    def _wrong(self, image: dict[str, Any], reason: str) -> DataError:
        return DataError(
            f"{self.path}: image {shown(image.get('file_name', image.get('id')))}: {reason}; give {_FILES}"
        )


def _add(subject: _Subject, every: int, images: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> None:
    """Add the frames of a subject to the lists; ids are numbered anew, as subjects' may be the same."""
    ids: dict[Any, dict[str, Any]] = {}
    for image in subject.images:
        if not isinstance(image, dict) or not isinstance(image.get("file_name"), str):
            raise DataError(f"{subject.path} has an image without `file_name`: {shown(image, 80)}; give {_FILES}")
        if frame_of(image) % every:
            continue
        focal, centre = subject.intrinsics(image)
        new = {k: v for k, v in image.items() if k != "cam_param"}
        new |= {
            "id": len(images) + 1, "action": action_of(image),
            "camera": {"focal": focal.tolist(), "principal_point": (centre + CENTRE).tolist()},
        }  # fmt: skip
        images.append(new)
        ids[image.get("id")] = {"new": new, "given": image, "focal": focal, "centre": centre}
    for annotation in subject.annotations:
        entry = ids.get(annotation.get("image_id")) if isinstance(annotation, dict) else None
        if entry is None:
            continue
        points = subject.joints(entry["given"], annotation)
        if points.shape != (H36M.num_joints, 3) or (points[:, 2] <= 0).any():
            raise DataError(f"{subject.path}: image {shown(entry['new']['file_name'])} does not have "
                            f"{H36M.num_joints} joints in front of its camera; give {_FILES}")  # fmt: skip
        pixels = points[:, :2] / points[:, 2:] * entry["focal"] + entry["centre"]
        kept = {k: v for k, v in annotation.items() if k == "bbox"}
        annotations.append(
            {
                **kept, "id": len(annotations) + 1, "image_id": entry["new"]["id"], "category_id": 1, "iscrowd": 0,
                "keypoints": np.column_stack([pixels, np.full(len(pixels), 2.0)]).ravel().tolist(),
                "keypoints_3d": points.tolist(),
            }
        )  # fmt: skip


def frame_of(image: dict[str, Any]) -> int:
    """The number of a frame: ``frame_idx``, or the last number of the file's name (which counts from 1)."""
    given = image.get("frame_idx")
    if type(given) is int:
        return given
    numbers = re.findall(r"\d+", os.path.splitext(os.path.basename(image["file_name"]))[0])
    return int(numbers[-1]) - 1 if numbers else 0


def action_of(image: dict[str, Any]) -> str:
    """The name of an image's action: ``action_name``, or by its number, or by the file's name; "" for none."""
    name = str(image.get("action_name") or "")
    number = image.get("action_idx")
    if not name and type(number) is not int:
        found = re.search(r"_act_(\d+)_", f"_{image['file_name']}_")
        number = int(found[1]) if found else None
    if not name and type(number) is int and 0 <= number - _FIRST < len(ACTIONS):
        name = ACTIONS[number - _FIRST]
    if not name:  # S9_WalkDog_1.54138969_000001.jpg
        words = re.split(r"[_\s.\d/]+", image["file_name"])
        name = next((action for action in ACTIONS if action in words), "")
    return name
