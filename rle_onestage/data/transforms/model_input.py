"""An image as the model is fed it at test time: resized, and as a tensor."""

import numpy as np
import torch
from detectron2.config import CfgNode, configurable

from .augmentation import Transform, resize_image, scaling, shortest_edge_size

# Added before rounding, so that halves go up whatever the order of a sum.
LIFT = 2.0**-10


class TestResize:
    """The resize at test time, for images outside a data set too, by the keys that Detectron2's own tools know.

    The shortest edge gets ``INPUT.MIN_SIZE_TEST`` unless the longest then exceeds ``MAX_SIZE_TEST``; with both equal,
    that is the length of the longest side. ``INPUT.POSE.SIZE`` has no say.

    Made by ``TestResize(cfg)`` or by keywords.

    Args:
        shortest: length of the shortest edge, in pixels; 0 keeps the image as it is.
        longest: what the longest edge must not exceed, in pixels.
    """

    __test__ = False  # not a test, for pytest

    @configurable
    def __init__(self, *, shortest: int = 0, longest: int = 0):
        self.shortest = shortest
        self.longest = longest

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, int]:
        """The arguments that the config gives."""
        return {"shortest": cfg.INPUT.MIN_SIZE_TEST, "longest": cfg.INPUT.MAX_SIZE_TEST}

    def transform(self, height: int, width: int) -> Transform:
        """The resize of an image of ``height`` x ``width`` pixels."""
        if self.shortest == 0:
            return scaling(height, width, height, width)
        return scaling(height, width, *shortest_edge_size(height, width, self.shortest, self.longest))

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Resize (H, W, 3) uint8."""
        transform = self.transform(*image.shape[:2])
        return resize_for_model(image, transform.height, transform.width)


def resize_for_model(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize (H, W, 3) uint8: OpenCV's area mean when it shrinks, bilinear when it grows.

    OpenCV grows images in fixed point, which differs by a grey level at one value in eight, and by machine. This is
    exact, so that an exported graph can do the same.
    """
    if height * width <= image.shape[0] * image.shape[1]:
        return resize_image(image, height, width)
    first, second, near, far = _neighbours(image.shape[0], height)
    rows = image[first] * near[:, None, None] + image[second] * far[:, None, None]  # (height, W, 3) float32
    first, second, near, far = _neighbours(image.shape[1], width)
    grown = rows[:, first] * near[:, None] + rows[:, second] * far[:, None]
    return np.rint(grown + LIFT).astype(np.uint8)


def _neighbours(given: int, wanted: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of each of ``wanted`` pixels the two among ``given`` that its centre lies between, and their weights."""
    # In units of half a pixel over ``wanted``: whole numbers, so that the weights are exact.
    centre = np.clip((2 * np.arange(wanted) + 1) * given - wanted, 0, 2 * wanted * (given - 1))
    first, rest = np.divmod(centre, 2 * wanted)
    near, far = ((part / np.float32(2 * wanted)).astype(np.float32) for part in (2 * wanted - rest, rest))
    return first, np.minimum(first + 1, given - 1), near, far


def image_to_tensor(image: np.ndarray, image_format: str) -> torch.Tensor:
    """Make the model's input of an image.

    Args:
        image: (H, W, 3) uint8 BGR.
        image_format: ``BGR`` or ``RGB``.

    Returns:
        (3, H, W) uint8 tensor in that format.
    """
    if image_format == "RGB":
        image = image[:, :, ::-1]
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
