"""A page of images with their labels drawn on some of them."""

import os
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from rle_onestage.errors import MediaError

from . import body

if TYPE_CHECKING:
    from synthetic_people.writer import Settings


_LEFT, _RIGHT, _MIDDLE = (90, 220, 90), (60, 150, 255), (240, 200, 80)


def draw_labels(image: np.ndarray, annotations: list[dict[str, Any]], zoom: int = 2) -> np.ndarray:
    """Skeletons over an enlarged copy: left limbs green, right orange; hidden joints hollow."""
    image = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    for annotation in annotations:
        joints = np.array(annotation["keypoints"]).reshape(-1, 3)
        pixels = np.round((joints[:, :2] + 0.5) * zoom * 8).astype(int)
        for a, b in body.LIMBS:
            if joints[a, 2] and joints[b, 2]:
                left, right = a % 2 and b % 2, a and b and not a % 2 and not b % 2
                colour = _LEFT if left else _RIGHT if right else _MIDDLE
                cv2.line(image, tuple(pixels[a].tolist()), tuple(pixels[b].tolist()), colour, 1, cv2.LINE_AA, 3)
        for (x, y), v in zip(pixels.tolist(), joints[:, 2]):
            if v:
                cv2.circle(image, (x, y), 16, (255, 255, 255), -1 if v == 2 else 1, cv2.LINE_AA, 3)
    return image


def contact_sheet(pairs: list[tuple[np.ndarray, list]], columns: int = 6, width: int = 240) -> np.ndarray:
    """Images in rows, each fitted into a cell of this width; every second one with its labels; pairs of (image,
    annotations)."""
    rows = -(-len(pairs) // columns)
    height = int(np.ceil(width * min(1.0, max(p.shape[0] / p.shape[1] for p, _ in pairs))))
    sheet = np.full((rows * height, columns * width, 3), 32, np.uint8)
    for k, (image, annotations) in enumerate(pairs):
        shown = draw_labels(image, annotations) if (k + k // columns) % 2 else image
        scale = min(height / shown.shape[0], width / shown.shape[1])
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        shown = cv2.resize(shown, None, fx=scale, fy=scale, interpolation=how)[:height, :width]
        y = k // columns * height + (height - shown.shape[0]) // 2
        x = k % columns * width + (width - shown.shape[1]) // 2
        sheet[y : y + shown.shape[0], x : x + shown.shape[1]] = shown
    return sheet


def write_contact_sheet(path: str, settings: "Settings", count: int = 24) -> None:
    """Make the first images of the validation split again and write them as one page."""
    from .writer import make_image

    pairs = [
        make_image(settings.seed, "val", k, settings.size, settings.layout, settings.supersampling)[:2]
        for k in range(count)
    ]
    ok, data = cv2.imencode(os.path.splitext(path)[1] or ".jpg", contact_sheet(pairs), [cv2.IMWRITE_JPEG_QUALITY, 84])
    if not ok:
        raise MediaError(f"{path}: images of this kind cannot be written; name a .jpg or .png file")
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(f"{path}.partial", "wb") as file:
        file.write(data.tobytes())
    os.replace(f"{path}.partial", path)
