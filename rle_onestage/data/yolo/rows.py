"""The rows of a YOLO-pose label file: ``class cx cy width height x y [v] ...``, in shares of the image's sides."""

import math
from typing import NamedTuple

from ...errors import DataError, cut
from .description import Description
from .images import read_lines

# Beyond 0 and 1, as Ultralytics allows; an image with more is left out there, and is an error here.
TOLERANCE = 0.01
# Of a box, which Ultralytics lets reach beyond the image as far as it likes; what is larger is in pixels.
LARGEST_OF_BOX = 2.0


class Row(NamedTuple):
    """A person of a label file."""

    number: int  # of the class
    box: tuple[float, float, float, float]  # centre x, centre y, width, height
    joints: list[tuple[float, float, float]]  # x, y, visibility


def read_rows(path: str, description: Description) -> tuple[list[Row], list[int]]:
    """Read a label file.

    Args:
        path: of the file; may be empty.
        description: of its data set.

    Returns:
        (rows, lines): its people, each once, and the numbers of the lines that repeat another.

    Raises:
        DataError: a line contradicts the data.yaml or makes no sense; the sentence names file and line.
    """
    rows: dict[tuple[float, ...], Row] = {}
    repeated = []
    for number, line in enumerate(read_lines(path), start=1):
        words = line.split()
        if not words:
            continue
        values = _numbers(words, path, number)
        where = f"{path}, line {number}"
        _check_count(len(values), description, where)
        if values in rows:
            repeated.append(number)
            continue
        rows[values] = Row(_class(values[0], description, where), _box(values, where), _joints(values, description,
                           where))  # fmt: skip
    return list(rows.values()), repeated


def _numbers(words: list[str], path: str, line: int) -> tuple[float, ...]:
    values = []
    for word in words:
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise DataError(f"{path}, line {line}: {cut(word, 40)!r} is not a finite number; correct the line")
        values.append(value)
    return tuple(values)


def _check_count(found: int, description: Description, where: str) -> None:
    joints, per_joint = description.num_joints, 3 if description.told else 2
    wanted = 5 + joints * per_joint
    if found == wanted:
        return
    hint = ""
    if found == 5:
        hint = ", as it has a box alone (a label for detection)"
    elif found == 5 + joints * (5 - per_joint):
        hint = f", as it is for kpt_shape [{joints}, {5 - per_joint}]"
    raise DataError(
        f"{where} has {found} numbers{hint}, but kpt_shape [{joints}, {per_joint}] of {description.file} needs "
        f"{wanted}: class, box and {joints} joints; correct one of the two"
    )


def _class(value: float, description: Description, where: str) -> int:
    if value != int(value) or value not in description.classes:
        last = len(description.classes) - 1
        known = "0" if last == 0 else f"0 to {last}"
        raise DataError(
            f"{where} has the class {value:g}, but `names` of {description.file} has {known} "
            f"({cut(', '.join(description.classes.values()), 80)}); correct one of the two"
        )
    return int(value)


def _check_share(value: float, what: str, where: str, largest: float = 1 + TOLERANCE) -> None:
    if not -TOLERANCE <= value <= largest:
        remedy = "divide pixels by the image's width and height" if value > LARGEST_OF_BOX else "correct the line"
        raise DataError(f"{where}: {what} is {value:g}, but must be a share of the image, from 0 to 1; {remedy}")


def _box(values: tuple[float, ...], where: str) -> tuple[float, float, float, float]:
    for value, what in zip(values[1:5], ("x of the box's centre", "y of the box's centre", "width", "height")):
        _check_share(value, what, where, LARGEST_OF_BOX)
    if min(values[3:5]) < 0:
        raise DataError(f"{where}: the box has a negative size ({values[3]:g} x {values[4]:g}); correct the line")
    return values[1], values[2], values[3], values[4]


def _joints(values: tuple[float, ...], description: Description, where: str) -> list[tuple[float, float, float]]:
    """Joints without label are zeros: visibility 0, or, where none is told, a negative number or 0, 0."""
    step = 3 if description.told else 2
    joints = []
    for number, start in enumerate(range(5, len(values), step)):
        x, y = values[start : start + 2]
        flag = values[start + 2] if description.told else 0.0 if min(x, y) < 0 or (x, y) == (0, 0) else 2.0
        if flag <= 0:
            joints.append((0.0, 0.0, 0.0))
            continue
        for value, axis in ((x, "x"), (y, "y")):
            _check_share(value, f"{axis} of joint {number}", where)
        joints.append((x, y, flag))
    return joints
