"""The network, its likelihood, and the way from predictions to people.

Importing it registers the architecture ``RLEOneStage``, the backbones ``build_timm_fpn_backbone`` and
``build_movenet_backbone``, and what is in :mod:`.two_stage` with Detectron2.
"""

from .backbone.movenet import MoveNetPyramid, build_movenet_backbone
from .backbone.timm_fpn import TimmPyramid, build_timm_fpn_backbone
from .meta_arch.rle_onestage import RLEOneStage
from .trained_parts import mark_filled, train_only
from .two_stage import Float32ROIHeads, RLEKeypointHead, SimplePoseKeypointHead, TopDownPose

__all__ = [
    "Float32ROIHeads",
    "MoveNetPyramid",
    "RLEKeypointHead",
    "RLEOneStage",
    "SimplePoseKeypointHead",
    "TimmPyramid",
    "TopDownPose",
    "build_movenet_backbone",
    "build_timm_fpn_backbone",
    "mark_filled",
    "train_only",
]
