"""Tar shards of a few photographs over and over."""

import io
import os
import tarfile
from collections.abc import Sequence

import cv2
import numpy as np

from rle_onestage.utils.images import read_image

_QUALITY = 85  # of JPEG


def make_shards(photographs: Sequence[str], folder: str, number: int, shards: int, side: int) -> list[str]:
    """Pack photographs over and over; shards of the same images that are there are left as they are.

    Args:
        photographs: paths.
        folder: of the shards.
        number: of images in all.
        shards: that share them, to within one image.
        side: longer one of an image, pixels.

    Returns:
        The paths of the shards.
    """
    os.makedirs(folder, exist_ok=True)
    contents = [_jpeg(read_image(path), side) for path in photographs]
    bounds = np.linspace(0, number, shards + 1).round().astype(int).tolist()
    paths = []
    for shard, (start, end) in enumerate(zip(bounds, bounds[1:])):
        paths.append(os.path.join(folder, f"{shard:05d}.tar"))
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as file:
            for image in range(start, end):
                data = contents[image % len(contents)]
                member = tarfile.TarInfo(f"{image:06d}.jpg")
                member.size = len(data)
                file.addfile(member, io.BytesIO(data))
        _write_new(paths[-1], content.getvalue())
    return paths


def _jpeg(image: np.ndarray, side: int) -> bytes:
    """The bytes of an image (H, W, 3) whose longer side has so many pixels."""
    share = side / max(image.shape[:2])
    small = cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()


def _write_new(path: str, data: bytes) -> None:
    """Write a file that is not there yet with these bytes, so that its time stays that of earlier calls."""
    if os.path.exists(path):
        with open(path, "rb") as file:
            if file.read() == data:
                return
    with open(path, "wb") as file:
        file.write(data)
