"""What happens to an image and its labels in training, and the resize at test time.

Functions of arrays; random choices come from the ``numpy.random.Generator`` that is passed in. The order in which they
are applied is that of :class:`~.mapper.PoseMapper`.
"""

from .augmentation import (
    AffineOptions,
    ColourOptions,
    EdgeOptions,
    PasteOptions,
    Transform,
    random_affine,
    random_colour,
    random_crop,
    transform_boxes,
    transform_keypoints,
    warp_image,
)
from .canvas import CanvasPeople
from .copy_paste import paste, random_paste
from .cutouts import Cutout, load_cutouts
from .degradation import random_degradation, random_erase
from .model_input import TestResize, image_to_tensor
from .occlusion import hide
from .stock import AUGMENTATION_REGISTRY, augment, build_augmentations

__all__ = [
    "AUGMENTATION_REGISTRY",
    "AffineOptions",
    "CanvasPeople",
    "ColourOptions",
    "Cutout",
    "EdgeOptions",
    "PasteOptions",
    "TestResize",
    "Transform",
    "augment",
    "build_augmentations",
    "hide",
    "image_to_tensor",
    "load_cutouts",
    "paste",
    "random_affine",
    "random_colour",
    "random_crop",
    "random_degradation",
    "random_erase",
    "random_paste",
    "transform_boxes",
    "transform_keypoints",
    "warp_image",
]
