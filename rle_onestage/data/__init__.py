"""Data sets, the mapper and its augmentation, and the loaders. Importing it registers the built-in data sets."""

from ..utils.images import UnreadableImage, read_image
from .coco.json_files import Problems
from .coco.records import load_coco_keypoints
from .datasets import get_metadata, get_skeleton, load_dataset, register_all, register_from_config
from .loader import build_test_loader, build_train_loader, load_training_records
from .lookup import model_skeleton, own_skeleton
from .mapper import MAPPER_REGISTRY, PoseMapper, build_mapper
from .transforms.model_input import TestResize, image_to_tensor
from .transforms.stock import AUGMENTATION_REGISTRY

register_all()

__all__ = [
    "AUGMENTATION_REGISTRY",
    "MAPPER_REGISTRY",
    "PoseMapper",
    "Problems",
    "TestResize",
    "UnreadableImage",
    "build_mapper",
    "build_test_loader",
    "build_train_loader",
    "get_metadata",
    "get_skeleton",
    "image_to_tensor",
    "load_coco_keypoints",
    "load_dataset",
    "load_training_records",
    "model_skeleton",
    "own_skeleton",
    "read_image",
    "register_all",
    "register_from_config",
]
