"""COCO-format keypoint files: the one reader of training and evaluation."""

from .annotations import KeypointFile, read_keypoints
from .categories import check_num_joints, keypoint_categories, keypoint_category
from .json_files import Problems, load_json, read_json
from .records import load_coco_keypoints, records_of

__all__ = [
    "KeypointFile",
    "Problems",
    "check_num_joints",
    "keypoint_categories",
    "keypoint_category",
    "load_coco_keypoints",
    "load_json",
    "read_json",
    "read_keypoints",
    "records_of",
]
