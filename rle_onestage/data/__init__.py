"""Data sets, the mapper and its augmentation, and the loaders. Importing it registers the built-in data sets.

- Data sets: :mod:`.datasets` registers them, :mod:`.coco` reads their files, :mod:`.labels` has how they were labelled,
  :mod:`.lookup` what is asked of them, :mod:`.training_sets` makes one of several.
- Samples: :mod:`.mapper` makes the model's input of a record, with :mod:`.people` and :mod:`.transforms`.
- Loading: :mod:`.loader` draws samples in the order of :mod:`.sampler`, by processes (:mod:`.batches`,
  :mod:`.workers`, :mod:`.handover`).
"""

from ..utils.images import UnreadableImage, read_image
from .coco import Problems, load_coco_keypoints
from .datasets import get_metadata, get_skeleton, load_dataset, register_all, register_from_config
from .given_boxes import GivenBoxesMapper
from .labels import SetOptions
from .loader import build_test_loader, build_train_loader, load_training_records
from .lookup import joint_names, known_joints, model_skeleton, own_skeleton
from .mapper import MAPPER_REGISTRY, PoseMapper, build_mapper
from .transforms import AUGMENTATION_REGISTRY, TestResize, image_to_tensor

register_all()

__all__ = [
    "AUGMENTATION_REGISTRY",
    "MAPPER_REGISTRY",
    "GivenBoxesMapper",
    "PoseMapper",
    "Problems",
    "SetOptions",
    "TestResize",
    "UnreadableImage",
    "build_mapper",
    "build_test_loader",
    "build_train_loader",
    "get_metadata",
    "get_skeleton",
    "image_to_tensor",
    "joint_names",
    "known_joints",
    "load_coco_keypoints",
    "load_dataset",
    "load_training_records",
    "model_skeleton",
    "own_skeleton",
    "read_image",
    "register_all",
    "register_from_config",
]
