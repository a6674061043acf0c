"""The network, its likelihood, and the way from predictions to people.

Importing it registers the architecture ``RLEOneStage`` and the backbones ``build_timm_fpn_backbone`` and
``build_movenet_backbone`` with Detectron2.
"""

from .backbone.movenet import MoveNetPyramid, build_movenet_backbone
from .backbone.timm_fpn import TimmPyramid, build_timm_fpn_backbone
from .meta_arch.rle_onestage import RLEOneStage
from .trained_parts import train_only

__all__ = [
    "MoveNetPyramid",
    "RLEOneStage",
    "TimmPyramid",
    "build_movenet_backbone",
    "build_timm_fpn_backbone",
    "train_only",
]
