"""Strokes and text on BGR pictures, with fractions of a pixel, opacity, and whatever lies outside cut off.

Coordinates are OpenCV's (0 is the middle of the first pixel), in pixels.
"""

import functools
import math

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..utils.fonts import file_for

# BGR.
EDGE = (26, 22, 20)
PAPER = (30, 27, 26)
FAR = 16000.0  # beyond it OpenCV's fixed-point coordinates overflow
_SHIFT = 4  # fractional bits of OpenCV's coordinates
_ONE = 1 << _SHIFT


def _blend(canvas, low, high, alpha, draw):
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


def capsule(canvas, start, end, width, colour, alpha=1.0, round_ends=True):
    """Draw a line of any width (also fractional), in place.

    Args:
        canvas: (H, W, 3) BGR uint8. start, end: x, y. width: pixels. colour: BGR. alpha: opacity. round_ends: half
            discs at the ends.
    """
    (ax, ay), (bx, by), radius = start, end, width / 2
    dx, dy = bx - ax, by - ay
    length = math.hypot(dx, dy)
    nx, ny = (-dy / length * radius, dx / length * radius) if length > 1e-6 else (0.0, 0.0)

    def draw(patch, x0, y0):
        outline = [(ax + nx, ay + ny), (bx + nx, by + ny), (bx - nx, by - ny), (ax - nx, ay - ny)]
        corners = [(round((x - x0) * _ONE), round((y - y0) * _ONE)) for x, y in outline]
        cv2.fillConvexPoly(patch, np.array(corners, dtype=np.int32), colour, cv2.LINE_AA, _SHIFT)
        for x, y in (start, end) if round_ends else ():
            where = round((x - x0) * _ONE), round((y - y0) * _ONE)
            cv2.circle(patch, where, round(radius * _ONE), colour, -1, cv2.LINE_AA, _SHIFT)

    low, high = (min(ax, bx) - radius, min(ay, by) - radius), (max(ax, bx) + radius, max(ay, by) + radius)
    _blend(canvas, low, high, alpha, draw)


def disc(canvas, centre, radius, colour, alpha=1.0, thickness=-1):
    """Draw a disc, or a circle of a whole thickness, in place. See :func:`capsule`."""
    x, y = centre

    def draw(patch, x0, y0):
        where = round((x - x0) * _ONE), round((y - y0) * _ONE)
        cv2.circle(patch, where, round(radius * _ONE), colour, thickness, cv2.LINE_AA, _SHIFT)

    reach = radius + max(thickness, 0) / 2 + 1
    _blend(canvas, (x - reach, y - reach), (x + reach, y + reach), alpha, draw)


def ellipse(canvas, centre, axes, colour, alpha=1.0, thickness=-1):
    """Draw an upright ellipse with half-axes (x, y), filled or as a line, in place. See :func:`capsule`."""
    (x, y), (a, b) = centre, axes

    def draw(patch, x0, y0):
        where = round((x - x0) * _ONE), round((y - y0) * _ONE)
        size = round(a * _ONE), round(b * _ONE)
        cv2.ellipse(patch, where, size, 0, 0, 360, colour, thickness, cv2.LINE_AA, _SHIFT)

    _blend(canvas, (x - a - 2, y - b - 2), (x + a + 2, y + b + 2), alpha, draw)


@functools.lru_cache(maxsize=32)
def _font(file, size):
    return ImageFont.truetype(file, size)


@functools.lru_cache(maxsize=512)
def _text_mask(text, size, bold=False):
    """Coverage of a line of text, (h, w) in [0, 1]; all lines of one size have the same height."""
    font, usual = (_font(file_for(part, bold), size) for part in (text, ""))
    ascent, descent = usual.getmetrics()
    mask = Image.new("L", (max(1, int(np.ceil(font.getlength(text)))), ascent + descent))
    ImageDraw.Draw(mask).text((0, ascent), text, fill=255, font=font, anchor="ls")  # all fonts on one base line
    return np.asarray(mask, dtype=np.float32) / 255


def text_width(text, size, bold=False):
    """Width of a line of text in pixels."""
    return _text_mask(text, size, bold).shape[1]


def draw_text(image, text, corner, size, colour=(255, 255, 255), bold=False):
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


def draw_tag(image, text, corner, size, dot=None):
    """Draw text on a dark, translucent plate in place, kept inside the image.

    Args:
        image: (H, W, 3) BGR uint8, changed.
        text, size: see :func:`draw_text`.
        corner: x, y of the plate's upper left corner.
        dot: BGR colour of a dot before the text, or None.
    """
    pad = max(2, round(0.35 * size))
    lead = round(0.75 * size) if dot else 0
    height, width = _text_mask(text, int(size)).shape
    width, height = width + lead + 2 * pad, height + max(1, pad // 2)
    x = int(np.clip(round(corner[0]), 0, max(0, image.shape[1] - width)))
    y = int(np.clip(round(corner[1]), 0, max(0, image.shape[0] - height)))
    middle = y + height / 2 - 0.5
    ends = (x + height / 2, middle), (x + width - height / 2, middle)
    capsule(image, *ends, height, EDGE, 0.6)
    if dot:
        disc(image, (x + pad + 0.28 * size, middle), 0.24 * size, dot)
    draw_text(image, text, (x + pad + lead, y + max(1, pad // 2) / 2), size, (245, 245, 245))
