"""Strokes and text on BGR images, with fractions of a pixel, opacity, and whatever lies outside cut off.

Coordinates are OpenCV's (0 is the middle of the first pixel), in pixels.
"""

import functools
import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..utils.fonts import file_for

Colour = tuple[int, int, int]  # BGR, 0 to 255
Point = tuple[float, float]  # x, y
Plate = tuple[int, int, int, int]  # x, y, width, height
EDGE = (26, 22, 20)
PAPER = (30, 27, 26)
FAR = 16000.0  # beyond it OpenCV's fixed-point coordinates overflow
_SHIFT = 4  # fractional bits of OpenCV's coordinates
_ONE = 1 << _SHIFT
_DOWN = 3  # times as far counts a tag's way down as one up or to a side


def _blend(
    canvas: np.ndarray, low: Point, high: Point, alpha: float, draw: Callable[[np.ndarray, int, int], None]
) -> None:
    """Let ``draw(patch, x0, y0)`` paint on the part of the canvas between two corners, with an opacity."""
    height, width = canvas.shape[:2]
    x0, y0 = max(0, math.floor(low[0]) - 2), max(0, math.floor(low[1]) - 2)
    x1, y1 = min(width, math.ceil(high[0]) + 3), min(height, math.ceil(high[1]) + 3)
    if x1 <= x0 or y1 <= y0:
        return
    part = canvas[y0:y1, x0:x1]
    patch = part.copy()
    draw(patch, x0, y0)
    part[:] = patch if alpha >= 1 else cv2.addWeighted(patch, alpha, part, 1 - alpha, 0)


def capsule(
    canvas: np.ndarray,
    start: Point,
    end: Point,
    width: float,
    colour: Colour,
    alpha: float = 1.0,
    round_ends: bool = True,
) -> None:
    """Draw a line of any width (also fractional), in place.

    Args:
        canvas: (H, W, 3) BGR uint8, changed.
        start: x, y.
        end: x, y.
        width: in pixels.
        colour: BGR.
        alpha: opacity, from 0 to 1.
        round_ends: half discs at the ends.
    """
    (ax, ay), (bx, by), radius = start, end, width / 2
    dx, dy = bx - ax, by - ay
    length = math.hypot(dx, dy)
    nx, ny = (-dy / length * radius, dx / length * radius) if length > 1e-6 else (0.0, 0.0)

    def draw(patch: np.ndarray, x0: int, y0: int) -> None:
        outline = [(ax + nx, ay + ny), (bx + nx, by + ny), (bx - nx, by - ny), (ax - nx, ay - ny)]
        corners = [(round((x - x0) * _ONE), round((y - y0) * _ONE)) for x, y in outline]
        cv2.fillConvexPoly(patch, np.array(corners, dtype=np.int32), colour, cv2.LINE_AA, _SHIFT)
        for x, y in (start, end) if round_ends else ():
            cv2.fillConvexPoly(patch, _outline((x - x0, y - y0), (radius, radius)), colour, cv2.LINE_AA, _SHIFT)

    low, high = (min(ax, bx) - radius, min(ay, by) - radius), (max(ax, bx) + radius, max(ay, by) + radius)
    _blend(canvas, low, high, alpha, draw)


def disc(
    canvas: np.ndarray, centre: Point, radius: float, colour: Colour, alpha: float = 1.0, thickness: float = -1
) -> None:
    """Draw a disc or a ring, in place.

    Args:
        canvas: (H, W, 3) BGR uint8, changed.
        centre: x, y.
        radius: in pixels, of a ring that of its middle.
        colour: BGR.
        alpha: opacity, from 0 to 1.
        thickness: of the ring, in pixels; -1 fills it.
    """
    x, y = centre
    outer = radius + max(thickness, 0) / 2

    def draw(patch: np.ndarray, x0: int, y0: int) -> None:
        # OpenCV's edges reach half a pixel too far, and those of its thick circles more, which fills small rings.
        radii = [outer] if thickness < 0 else [outer - 0.4, max(radius - thickness / 2, 0.0) + 0.6]
        cv2.fillPoly(patch, [_outline((x - x0, y - y0), (r, r)) for r in radii], colour, cv2.LINE_AA, _SHIFT)

    _blend(canvas, (x - outer - 1, y - outer - 1), (x + outer + 1, y + outer + 1), alpha, draw)


def ellipse(
    canvas: np.ndarray,
    centre: Point,
    axes: Point,
    colour: Colour,
    alpha: float = 1.0,
    thickness: int = -1,
    angle: float = 0.0,
) -> None:
    """Draw an ellipse, in place.

    Args:
        canvas: (H, W, 3) BGR uint8, changed.
        centre: x, y.
        axes: half-axes along x and y before it is turned, in pixels.
        colour: BGR.
        alpha: opacity, from 0 to 1.
        thickness: of the line, in pixels; -1 fills it.
        angle: by which it is turned, from x towards y, in radians.
    """
    (x, y), cos, sin = centre, math.cos(angle), math.sin(angle)
    a, b = (math.hypot(axes[0] * along, axes[1] * across) for along, across in ((cos, sin), (sin, cos)))

    def draw(patch: np.ndarray, x0: int, y0: int) -> None:
        outline = _outline((x - x0, y - y0), axes, angle)
        if thickness < 0:
            cv2.fillConvexPoly(patch, outline, colour, cv2.LINE_AA, _SHIFT)
        else:
            cv2.polylines(patch, [outline], True, colour, thickness, cv2.LINE_AA, _SHIFT)

    reach = max(thickness, 0) / 2 + 1
    _blend(canvas, (x - a - reach, y - b - reach), (x + a + reach, y + b + reach), alpha, draw)


def _outline(centre: Point, axes: Point, angle: float = 0.0) -> np.ndarray:
    """Corners (n, 2) of an ellipse turned by an angle in radians, in OpenCV's fixed-point coordinates.

    OpenCV's own circles and ellipses have four corners below 3 pixels, so that small joints would be diamonds.
    """
    number = min(max(16, 8 * round(math.sqrt(max(axes)))), 96)
    corners = _circle(number) * axes
    if angle:
        cos, sin = math.cos(angle), math.sin(angle)
        corners = corners @ np.array([[cos, sin], [-sin, cos]])
    return np.rint((corners + centre) * _ONE).astype(np.int32)


@functools.lru_cache(maxsize=16)
def _circle(number: int) -> np.ndarray:
    """Corners (number, 2) of the unit circle."""
    angle = np.linspace(0, 2 * np.pi, number, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], 1)


@functools.lru_cache(maxsize=32)
def _font(file: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, size)


@functools.lru_cache(maxsize=512)
def _text_mask(text: str, size: int, bold: bool = False) -> np.ndarray:
    """Coverage of a line of text, (h, w) in [0, 1]; all lines of one size have the same height."""
    font, usual = (_font(file_for(part, bold), size) for part in (text, ""))
    ascent, descent = usual.getmetrics()
    mask = Image.new("L", (max(1, int(np.ceil(font.getlength(text)))), ascent + descent))
    ImageDraw.Draw(mask).text((0, ascent), text, fill=255, font=font, anchor="ls")  # all fonts on one base line
    return np.asarray(mask, dtype=np.float32) / 255


def text_width(text: str, size: int, bold: bool = False) -> int:
    """Width of a line of text.

    Args:
        text: what is written.
        size: font size in pixels.
        bold: the bold face.

    Returns:
        Pixels.
    """
    return _text_mask(text, size, bold).shape[1]


def draw_text(
    image: np.ndarray,
    text: str,
    corner: Point,
    size: float,
    colour: Colour = (255, 255, 255),
    bold: bool = False,
) -> None:
    """Draw a line of text in place; what lies outside the image is cut off.

    Args:
        image: (H, W, 3) BGR uint8, changed.
        text: what to write.
        corner: x, y of the upper left corner.
        size: font size in pixels.
        colour: BGR.
        bold: the bold face.
    """
    mask = _text_mask(text, int(size), bold)
    x, y = (int(round(v)) for v in corner)
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + mask.shape[1], image.shape[1]), min(y + mask.shape[0], image.shape[0])
    if x1 <= x0 or y1 <= y0:
        return
    cover = mask[y0 - y : y1 - y, x0 - x : x1 - x, None]
    part = image[y0:y1, x0:x1]
    part[:] = (part * (1 - cover) + np.array(colour, dtype=np.float32) * cover + 0.5).astype(np.uint8)


def tag_plate(
    image: np.ndarray, text: str, corner: Point, size: float, dot: bool = False, taken: Sequence[Plate] = ()
) -> Plate:
    """Where :func:`draw_tag` puts its plate: inside the image and, where there is room, on none of the others.

    Args:
        image: (H, W, 3).
        text: what is written.
        corner: x, y of the upper left corner, where nothing speaks against it.
        size: font size in pixels.
        dot: whether a dot stands before the text.
        taken: plates that are there already.

    Returns:
        x, y, width, height in pixels.
    """
    pad, lead = _margins(size, dot)
    height, width = _text_mask(text, int(size)).shape
    width, height = width + lead + 2 * pad, height + max(1, pad // 2)
    right, low = max(0, image.shape[1] - width), max(0, image.shape[0] - height)
    x, y = min(max(round(corner[0]), 0), right), min(max(round(corner[1]), 0), low)
    return _nearest_free((x, y, width, height), right, low, taken) if taken else (x, y, width, height)


def _nearest_free(wish: Plate, right: int, low: int, taken: Sequence[Plate]) -> Plate:
    """The place nearest to a wish that is on none of the others and begins at 0 to ``right`` and 0 to ``low``."""
    x, y, width, height = wish
    ox, oy, wide, high = np.array(taken).T
    beside = [(x, oy - height - 1), (ox - width - 1, y), (ox + wide + 1, y), (x, oy + high + 1)]
    xs, ys = (np.concatenate([[start], *np.broadcast_arrays(*parts)]) for start, parts in zip((x, y), zip(*beside)))
    hit = (
        (xs[:, None] < ox + wide) & (ox < xs[:, None] + width) & (ys[:, None] < oy + high) & (oy < ys[:, None] + height)
    )
    free = ~hit.any(1) & (xs >= 0) & (xs <= right) & (ys >= 0) & (ys <= low)
    # The nearest one counts; down, where the person is, only if the rest is far.
    way = np.abs(xs - x) + np.maximum(y - ys, _DOWN * (ys - y))
    best = int(np.where(free, way, np.inf).argmin())  # the first, where the tag was to be, if none is free
    return int(xs[best]), int(ys[best]), width, height


def _margins(size: float, dot: bool) -> tuple[int, int]:
    """Pixels round the text of a tag, and those that a dot before it takes."""
    return max(2, round(0.35 * size)), round(0.75 * size) if dot else 0


def draw_tag(image: np.ndarray, text: str, corner: Point, size: float, dot: Colour | None = None) -> None:
    """Draw text on a dark, translucent plate in place, kept inside the image.

    Args:
        image: (H, W, 3) BGR uint8, changed.
        text: what to write.
        corner: x, y of the plate's upper left corner.
        size: font size in pixels.
        dot: BGR colour of a dot before the text, or None.
    """
    pad, lead = _margins(size, dot is not None)
    x, y, width, height = tag_plate(image, text, corner, size, dot is not None)
    middle = y + height / 2 - 0.5
    ends = (x + height / 2, middle), (x + width - height / 2, middle)
    capsule(image, *ends, height, EDGE, 0.6)
    if dot:
        disc(image, (x + pad + 0.28 * size, middle), 0.24 * size, dot)
    draw_text(image, text, (x + pad + lead, y + max(1, pad // 2) / 2), size, (245, 245, 245))
