"""What Detectron2's own two-stage Keypoint R-CNN needs to be trained as a baseline here."""

from typing import TYPE_CHECKING

import torch
from detectron2.modeling import ROI_HEADS_REGISTRY, StandardROIHeads
from detectron2.structures import Instances

if TYPE_CHECKING:
    from detectron2.structures.image_list import ImageList


@ROI_HEADS_REGISTRY.register()
class Float32ROIHeads(StandardROIHeads):
    """Detectron2's standard heads over float32 features.

    Its ROIAlign rounds the boxes to the type of the features. Under bfloat16 autocast that is a pixel at x = 200, which
    moves the crops against the heatmaps that they are trained with. The convolutions behind it run in bfloat16 again.
    """

    def forward(
        self,
        images: "ImageList",
        features: dict[str, torch.Tensor],
        proposals: list[Instances],
        targets: list[Instances] | None = None,
    ) -> tuple:
        """As ``StandardROIHeads``; ``features``: dict name -> (B, C, H, W)."""
        features = {name: maps.float() for name, maps in features.items()}
        return super().forward(images, features, proposals, targets)
