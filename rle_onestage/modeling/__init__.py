"""The network, its likelihood, and the way from predictions to people.

Importing it registers the architecture ``RLEOneStage`` and the backbone ``build_timm_fpn_backbone`` with Detectron2.
"""

from .backbone import TimmPyramid, build_timm_fpn_backbone
from .meta_arch import RLEOneStage

__all__ = ["RLEOneStage", "TimmPyramid", "build_timm_fpn_backbone"]
