"""Poses in regions: keypoint heads for Detectron2's two-stage models, and crops of given boxes.

Importing it registers the keypoint heads ``RLEKeypointHead`` and ``SimplePoseKeypointHead``, the heads
``Float32ROIHeads`` and the architecture ``TopDownPose`` with Detectron2.
"""

from .keypoint_head import RLEKeypointHead
from .roi_heads import Float32ROIHeads
from .simple_pose import SimplePoseKeypointHead
from .top_down import TopDownPose

__all__ = ["Float32ROIHeads", "RLEKeypointHead", "SimplePoseKeypointHead", "TopDownPose"]
