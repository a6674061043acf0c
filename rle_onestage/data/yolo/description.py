"""The ``data.yaml`` of a YOLO-pose data set: what it says, checked, with a sentence for what cannot be."""

import os
from typing import Any, NamedTuple

import yaml

from ...errors import DataError, shown
from ...structures.category_extras import pairs_of_flip_index
from ...utils.near import did_you_mean
from ...utils.output_files import kind_of

SPLITS = ("train", "val", "test", "minival")
LARGEST_FILE = 10_000_000  # bytes of a data.yaml
MOST_JOINTS = 1000


class Description(NamedTuple):
    """A data.yaml."""

    file: str
    root: str  # folder that the splits are relative to
    splits: dict[str, list[str]]  # name -> folders of images, or text files that list images, as in the file
    classes: dict[int, str]
    num_joints: int
    told: bool  # each joint has a visibility, kpt_shape [K, 3]
    names: list[str] | None  # of the K joints
    flip_index: list[int] | None
    limbs: Any  # as in the file


def read_description(file: str) -> Description:
    """Read a data.yaml.

    Args:
        file: its path.

    Raises:
        DataError: it cannot be read, lacks something, or contradicts itself.
    """
    content = _load(file)
    num_joints, told = _shape(content, file)
    classes = _classes(content, file)
    names = _joint_names(content.get("kpt_names"), classes, num_joints, file)
    flip_index = content.get("flip_idx") or None
    if flip_index is not None:
        try:
            pairs_of_flip_index(flip_index, num_joints)
        except DataError as error:
            raise DataError(f"{file}: {error}") from error
    splits = {key: _entries(content, key, file) for key in SPLITS}
    if not splits["val"]:
        splits["val"] = _entries(content, "validation", file)
    root = _root(content.get("path"), file)
    return Description(file, root, {k: v for k, v in splits.items() if v}, classes, num_joints, told, names, flip_index,
                       content.get("skeleton"))  # fmt: skip


_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """PyYAML's, but for keys that come twice: of which it takes the last without a word."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict:
        """As there."""
        keys: list[Any] = []
        for key_node, _ in node.value:
            key = None if key_node.tag == _MERGE else self.construct_object(key_node, deep=True)
            if key is not None and key in keys:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {shown(key)} comes a second time", key_node.start_mark
                )
            keys.append(key)
        return super().construct_mapping(node, deep)


def _load(file: str) -> dict:
    if kind := kind_of(file):
        raise DataError(f"{file} is {kind}, not a file; check the path")
    try:
        if os.path.getsize(file) > LARGEST_FILE:
            raise DataError(f"{file} has more than {LARGEST_FILE} bytes; a data.yaml has a few lines")
        with open(file, encoding="utf-8-sig") as opened:
            content = yaml.load(opened, _Loader)
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}); check the path and its permissions") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise DataError(f"{file} is no valid YAML ({line}{error.problem}); write it again") from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{file} is no valid YAML ({reason}); write it again, as UTF-8") from error
    if not isinstance(content, dict):
        raise DataError(
            f"{file} is no data.yaml of a YOLO-pose data set; it needs `kpt_shape`, `names`, `train`, `val`"
        )
    return content


def _shape(content: dict, file: str) -> tuple[int, bool]:
    """K, and whether each joint has a visibility."""
    shape = content.get("kpt_shape")
    if shape is None:
        hint = did_you_mean("kpt_shape", [key for key in content if isinstance(key, str)])
        raise DataError(
            f"{file} has no `kpt_shape`, so it describes no joints; {f'{hint} ' if hint else ''}add it, such as "
            "kpt_shape: [17, 3]"
        )
    whole = isinstance(shape, list) and len(shape) == 2 and all(type(number) is int for number in shape)
    if not whole or not 1 <= shape[0] <= MOST_JOINTS or shape[1] not in (2, 3):
        raise DataError(
            f"{file} has `kpt_shape` {shown(shape)}; it must be [joints, 2] (x, y) or [joints, 3] (x, y, visibility)"
        )
    return shape[0], shape[1] == 3


def _classes(content: dict, file: str) -> dict[int, str]:
    """Number -> name of the classes."""
    names, count = content.get("names"), content.get("nc")
    if names is None and type(count) is int and 1 <= count <= 10_000:
        return {number: f"class_{number}" for number in range(count)}
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise DataError(f"{file} has `names` {shown(names)}; list the names of the classes, such as names: [person]")
    numbers = {int(key) if isinstance(key, str) and key.isascii() and key.isdigit() else key for key in names}
    if numbers != set(range(len(names))) or any(isinstance(name, (list, dict)) for name in names.values()):
        raise DataError(
            f"{file} has `names` {shown(names)}; classes are numbered from 0 without a gap, and names are text"
        )
    if count is not None and str(count) not in (str(len(names)), f"{len(names)}.0"):
        raise DataError(f"{file} has {len(names)} `names` but `nc` {shown(count)}; correct one of them")
    return {int(number): str(name) for number, name in sorted(names.items(), key=lambda pair: int(pair[0]))}


def _joint_names(given: Any, classes: dict[int, str], num_joints: int, file: str) -> list[str] | None:
    """``kpt_names``: a list, or one for each class, which must be the same."""
    if given in (None, [], {}):
        return None
    lists = list(given.values()) if isinstance(given, dict) else given
    if isinstance(lists, list) and lists and not any(isinstance(entry, list) for entry in lists):
        lists = [lists]
    if not isinstance(lists, list) or not all(isinstance(entry, list) for entry in lists):
        raise DataError(f"{file} has `kpt_names` {shown(given)}; give each class a list of {num_joints} names")
    for names in lists:
        if len(names) != num_joints:
            raise DataError(
                f"{file} has {len(names)} names in `kpt_names`, but `kpt_shape` has {num_joints} joints; correct one"
            )
        if names != lists[0]:
            raise DataError(
                f"{file} has classes of different joints in `kpt_names` ({', '.join(list(classes.values())[:5])}); a "
                "model here has one set of joints, so keep the class that is the person in this data set"
            )
    names = [str(name) for name in lists[0]]
    if len(set(names)) < len(names):
        raise DataError(f"{file} has a name twice in `kpt_names` {shown(names)}; joint names must differ")
    return names


def _entries(content: dict, key: str, file: str) -> list[str]:
    """Where the images of a split are."""
    given = content.get(key)
    entries = given if isinstance(given, list) else [given] if given else []
    if not all(isinstance(entry, str) and entry and "\0" not in entry for entry in entries):
        raise DataError(
            f"{file} has `{key}` {shown(given)}; it must be a folder of images, a text file that lists them, or a list "
            "of these"
        )
    return entries


def _root(given: Any, file: str) -> str:
    """The folder of ``path``: beside the file, below $DETECTRON2_DATASETS, or in the working directory."""
    beside = os.path.dirname(os.path.abspath(file))
    if given in (None, ""):
        return beside
    if not isinstance(given, str) or "\0" in given:
        raise DataError(f"{file} has `path` {shown(given)}; it must be the folder of the data set, or be left out")
    path = os.path.expanduser(given.replace("\\", "/"))
    bases = [beside, os.environ.get("DETECTRON2_DATASETS") or "datasets", os.getcwd()]
    places = list(dict.fromkeys(os.path.abspath(os.path.join(base, path)) for base in bases))
    for place in places:
        if os.path.isdir(place):
            return place
    raise DataError(
        f"{file} has `path` {given}, but there is no folder {' or '.join(places)} (looked for beside the file, in "
        "DETECTRON2_DATASETS and in the working directory); correct it, or leave it out if the images lie beside the "
        "file"
    )
