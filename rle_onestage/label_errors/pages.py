"""Contact sheets of labels that are unlikely: the label, what the model expects, and what would mend it."""

import math
import os
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from ..structures.covariance import ellipse_axes
from ..structures.skeleton import Skeleton
from ..utils.images import UnreadableImage, read_image
from ..video import io as media
from ..visualization import EDGE, PAPER, PRESENT, SIDE_COLOURS, draw_tag, draw_text, text_width
from .evidence import Case

PER_PAGE, COLUMNS = 10, 2
PANEL = 420  # side of a crop, pixels
SURROUNDINGS = 120.0  # least side of the crop round a person who is not found, pixels of the image
TEXT = 17
Colour = tuple[int, int, int]
# BGR.
LABEL, MODEL = (255, 64, 255), (80, 255, 80)
SIDES = "left is blue, right is orange"
LEGEND = (
    "magenta: unlikely labels; green: where the model expects them, with ellipses of one and two standard deviations; "
    f"{SIDES}"
)
BOX: Colour = (255, 255, 255)
NAMED = 4  # unlikely labels that still fit into a crop with names and ties
_SHIFT = 4


class Entry(NamedTuple):
    """A person of a page."""

    case: Case
    joints: Sequence[int]  # of the unlikely labels
    file_name: str
    lines: tuple[str, str]  # of text, above and below
    absent: Sequence[int] = ()  # those of ``joints`` that the model does not expect anywhere


class Crop:
    """The part of an image that shows a person, enlarged to a square.

    Args:
        image: (H, W, 3) BGR uint8.
        points: (n, 2) that must be seen, in pixel indices.
        margin: share of their extent.
        smallest: side of the part, in pixels of the image; smaller ones would be a blur.
    """

    def __init__(self, image: np.ndarray, points: np.ndarray, *, margin: float = 0.22, smallest: float = 24.0) -> None:
        points = points.clip(-0.25 * max(image.shape), 1.25 * max(image.shape))
        low, high = points.min(0), points.max(0)
        side = max((high - low).max() * (1 + 2 * margin), smallest)
        self.origin, self.scale = (low + high) / 2 - side / 2, PANEL / side
        x, y = self.scale * (0.5 - self.origin) - 0.5  # where the first pixel's centre goes
        matrix = np.array([[self.scale, 0, x], [0, self.scale, y]])
        self.image = cv2.warpAffine(
            image, matrix, (PANEL, PANEL), flags=cv2.INTER_CUBIC if self.scale > 1 else cv2.INTER_AREA,
            borderMode=cv2.BORDER_CONSTANT, borderValue=PAPER,
        )  # fmt: skip

    def place(self, points: np.ndarray) -> np.ndarray:
        """Points of the image in the crop.

        Args:
            points: (..., 2).

        Returns:
            (..., 2).
        """
        return (np.asarray(points, dtype=float) - self.origin + 0.5) * self.scale - 0.5


def drawn(
    image: np.ndarray, case: Case, joints: Sequence[int], skeleton: Skeleton, *, absent: Sequence[int] = ()
) -> np.ndarray:
    """A person's labels beside what the model expects.

    Left: all labels as a thin skeleton, unlikely ones as magenta rings, tied to the model's point with its ellipses of
    one and two standard deviations in green (one alone, and no ties, where there are many). Right: the model's
    skeleton. Left sides are blue, right ones orange. Of a person whom the model does not find, the labelled box is
    drawn too, with what surrounds it.

    Args:
        image: (H, W, 3) BGR uint8.
        case: :class:`~.evidence.Case`.
        joints: of the unlikely labels.
        skeleton: its joints.
        absent: those of ``joints`` that the model does not expect anywhere, so that they are tied to nothing.

    Returns:
        (PANEL, 2 PANEL + 4, 3) BGR uint8.
    """
    shown = case.visibility > 0
    predicted = case.views[0] if case.views else None
    if predicted:
        crop = Crop(image, np.concatenate([case.labels[shown], predicted.joints[shown]]))
    else:
        corners = _corners(case)
        crop = Crop(image, np.concatenate([case.labels[shown], corners]), margin=0.5, smallest=SURROUNDINGS)
        _draw_box(crop.image, crop.place(corners))
    left, right = crop.image.copy(), crop.image.copy()
    labels = crop.place(case.labels)
    few = len(joints) <= NAMED
    if predicted:
        model = crop.place(predicted.joints)
        _draw_skeleton(right, model, predicted.presence >= PRESENT, skeleton, 2)
        for j in (j for j in joints if j not in absent):
            _draw_expected(left, model[j], predicted.covariances[j] * crop.scale**2, (1.0, 2.0) if few else (1.0,))
            if few:
                _line(left, labels[j], model[j], EDGE, 3)
                _line(left, labels[j], model[j], MODEL, 1)
    _draw_skeleton(left, labels, shown, skeleton, 2)
    for j in joints:
        _circle(left, labels[j], 8 if few else 6, EDGE, 4)
        _circle(left, labels[j], 8 if few else 6, LABEL, 2)
    _draw_names(left, labels, joints if few else [], skeleton)
    draw_tag(left, "labels", (4, PANEL - 26), 13)
    draw_tag(right, "model", (4, PANEL - 26), 13)
    return np.concatenate([left, np.full((PANEL, 4, 3), PAPER, np.uint8), right], 1)


def _corners(case: Case) -> np.ndarray:
    """Two corners (2, 2) of the labelled box."""
    x, y, width, height = case.annotation["bbox"]
    return np.array([[x, y], [x + width, y + height]], dtype=float)


def _draw_box(canvas: np.ndarray, corners: np.ndarray) -> None:
    (x0, y0), (x1, y1) = corners
    points = [np.array(point) for point in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]
    for colour, width in ((EDGE, 3), (BOX, 1)):
        for start, end in zip(points, [*points[1:], points[0]]):
            _line(canvas, start, end, colour, width)


def _draw_skeleton(canvas: np.ndarray, points: np.ndarray, shown: np.ndarray, skeleton: Skeleton, width: int) -> None:
    sides = skeleton.sides
    limbs = [(a, b) for a, b in skeleton.limbs if shown[a] and shown[b]]
    for edge in (True, False):
        for a, b in limbs:
            pair = {sides[a], sides[b]} - {""}
            colour = EDGE if edge else SIDE_COLOURS[pair.pop() if len(pair) == 1 else ""]
            _line(canvas, points[a], points[b], colour, width + 2 * edge)
    for j in np.flatnonzero(shown):
        _circle(canvas, points[j], 4.4, EDGE)
        _circle(canvas, points[j], 3.2, SIDE_COLOURS[sides[j]])


def _draw_names(canvas: np.ndarray, points: np.ndarray, joints: Sequence[int], skeleton: Skeleton) -> None:
    """Names beside their joints, one below the other where they would overlap."""
    below = -np.inf
    for j in sorted(joints, key=lambda j: points[j, 1]):
        below = max(points[j, 1] - 9, below + 20)
        draw_tag(canvas, skeleton.names[j].replace("_", " "), (points[j, 0] + 11, below), 12, dot=LABEL)


def _draw_expected(canvas: np.ndarray, point: np.ndarray, covariance: np.ndarray, factors: Sequence[float]) -> None:
    *axes, angle = ellipse_axes(covariance)
    for factor in factors:
        where, size = (tuple(_fixed(v).tolist()) for v in (point, np.clip(factor * np.array(axes), 1.0, 4.0 * PANEL)))
        for colour, width in ((EDGE, 3), (MODEL, 1)):
            cv2.ellipse(canvas, where, size, math.degrees(angle), 0, 360, colour, width, cv2.LINE_AA, _SHIFT)
    _circle(canvas, point, 2.5, MODEL)


def _fixed(values: np.ndarray | float) -> np.ndarray:
    return np.round(np.clip(values, -8000, 8000) * (1 << _SHIFT)).astype(np.int32)


def _line(canvas: np.ndarray, start: np.ndarray, end: np.ndarray, colour: Colour, width: int) -> None:
    a, b = (tuple(_fixed(v).tolist()) for v in (start, end))
    cv2.line(canvas, a, b, colour, width, cv2.LINE_AA, _SHIFT)


def _circle(canvas: np.ndarray, centre: np.ndarray, radius: float, colour: Colour, width: int = -1) -> None:
    cv2.circle(canvas, tuple(_fixed(centre).tolist()), int(_fixed(radius)), colour, width, cv2.LINE_AA, _SHIFT)


def write_pages(
    folder: str, stem: str, entries: Sequence[Entry], image_root: str, skeleton: Skeleton, *, legend: str = LEGEND
) -> list[str]:
    """Write pages of ten people each, ``STEM_01.jpg`` and so on.

    Args:
        folder: to write to.
        stem: of the names.
        entries: the people.
        image_root: folder of the images.
        skeleton: the joints.
        legend: a line above the people.

    Returns:
        Paths of the pages.

    Raises:
        MediaError: a page cannot be written.
    """
    paths = []
    for start in range(0, len(entries), PER_PAGE):
        tiles = [_tile(entry, image_root, skeleton) for entry in entries[start : start + PER_PAGE]]
        rows = -(-len(tiles) // COLUMNS)
        height, width = tiles[0].shape[:2]
        gap, head = 10, 2 * TEXT
        page = np.full((head + rows * (height + gap), COLUMNS * (width + gap) + gap, 3), PAPER, np.uint8)
        draw_text(page, legend, (gap + 2, TEXT // 2), TEXT - 2, (200, 200, 200))
        for i, tile in enumerate(tiles):
            y, x = head + i // COLUMNS * (height + gap), gap + i % COLUMNS * (width + gap)
            page[y : y + height, x : x + width] = tile
        path = os.path.join(folder, f"{stem}_{start // PER_PAGE + 1:02d}.jpg")
        media.write_image(path, page)
        paths.append(path)
    return paths


def _tile(entry: Entry, image_root: str, skeleton: Skeleton) -> np.ndarray:
    try:
        image = read_image(os.path.join(image_root, entry.file_name))
        pair = drawn(image, entry.case, entry.joints, skeleton, absent=entry.absent)
    except UnreadableImage as error:
        pair = np.full((PANEL, 2 * PANEL + 4, 3), EDGE, np.uint8)
        draw_text(pair, f"cannot be read: {error.reason}", (20, PANEL / 2), TEXT)
    head, foot = entry.lines
    tile = np.full((PANEL + round(3.2 * TEXT), pair.shape[1], 3), PAPER, np.uint8)
    size = next((s for s in (TEXT, TEXT - 2, TEXT - 4) if text_width(head, s, True) <= tile.shape[1] - 6), TEXT - 4)
    draw_text(tile, _fitting(head, size, tile.shape[1], bold=True), (2, 2), size, bold=True)
    tile[round(1.6 * TEXT) : round(1.6 * TEXT) + PANEL] = pair
    small = TEXT - 3
    draw_text(tile, _fitting(foot, small, tile.shape[1]), (2, round(1.6 * TEXT) + PANEL + 3), small, (200, 200, 200))
    return tile


def _fitting(text: str, size: int, width: int, bold: bool = False) -> str:
    """The text, cut where it leaves the page."""
    while text and text_width(text, size, bold) > width - 6:
        text = text[:-2].rstrip("… ") + "…"
    return text
