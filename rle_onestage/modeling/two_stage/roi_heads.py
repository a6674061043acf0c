"""Detectron2's standard heads, over features that do not lose pixels to half precision."""

from typing import Any

from detectron2.modeling import ROI_HEADS_REGISTRY, StandardROIHeads
from detectron2.structures import ImageList, Instances
from torch import Tensor


@ROI_HEADS_REGISTRY.register()
class Float32ROIHeads(StandardROIHeads):
    """Detectron2's standard heads over float32 features.

    Its ROIAlign rounds the boxes to the type of the features. Under bfloat16 autocast that is a pixel at x = 200, which
    moves the crops against the joints that they are trained with. The convolutions behind it run in bfloat16 again.
    """

    def forward(
        self,
        images: ImageList,
        features: dict[str, Tensor],
        proposals: list[Instances],
        targets: list[Instances] | None = None,
    ) -> tuple[Any, Any]:
        """As ``StandardROIHeads``; ``features``: dict name -> (B, C, H, W)."""
        features = {name: maps.float() for name, maps in features.items()}
        return super().forward(images, features, proposals, targets)
