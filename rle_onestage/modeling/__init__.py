"""The network, its likelihood, and the way from predictions to people.

Importing it registers the architecture ``RLEOneStage``, the backbones ``build_timm_fpn_backbone`` and
``build_movenet_backbone`` and, for the two-stage baseline, ``Float32ROIHeads`` with Detectron2.
"""

from .backbone import TimmPyramid, build_timm_fpn_backbone
from .meta_arch import RLEOneStage
from .movenet import MoveNetPyramid, build_movenet_backbone
from .two_stage import Float32ROIHeads

__all__ = [
    "Float32ROIHeads",
    "MoveNetPyramid",
    "RLEOneStage",
    "TimmPyramid",
    "build_movenet_backbone",
    "build_timm_fpn_backbone",
]
