"""An image as the model is fed it at test time: resized, and as a tensor."""

import numpy as np
import torch
from detectron2.config import CfgNode, configurable

from .augmentation import Transform, resize_image, scaling, shortest_edge_size


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
        return resize_image(image, transform.height, transform.width)


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
