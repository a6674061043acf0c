"""Labels made by a model: people and joints that it is sure of, as a COCO-format file to correct or to train on."""

from .deciding import ImageLabels, Label, decide, kept_joints
from .fusing import FusedPerson, fuse, match_views, similarity
from .images import Labeller, annotations_of, category_of, label_images
from .options import LabelOptions, Limit
from .scoring import Comparison, compare, compare_files
from .table import format_comparison
from .views import Detections, LongestSide, from_instances, look, mirrored_back, predictors_at

__all__ = [
    "Comparison",
    "Detections",
    "FusedPerson",
    "ImageLabels",
    "Label",
    "LabelOptions",
    "Labeller",
    "Limit",
    "LongestSide",
    "annotations_of",
    "category_of",
    "compare",
    "compare_files",
    "decide",
    "format_comparison",
    "from_instances",
    "fuse",
    "kept_joints",
    "label_images",
    "look",
    "match_views",
    "mirrored_back",
    "predictors_at",
    "similarity",
]
