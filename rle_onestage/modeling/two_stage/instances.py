"""People whose standard deviations, covariances and areas follow when Detectron2 brings them to another size.

Detectron2's ``detector_postprocess`` scales ``pred_boxes`` and ``pred_keypoints``, and knows no other fields in pixels.
It takes the fields of its ``Instances``, then calls ``scale`` of the boxes. That is where the others follow.
"""

from collections.abc import Callable, Mapping
from typing import Any

from detectron2.structures import Boxes, Instances
from torch import Tensor

# Fields in pixels: the factor of each, from the factors (2,) of x and y.
_FACTORS: dict[str, Callable[[Tensor], Tensor]] = {
    "pred_keypoint_sigmas": lambda factors: factors,
    "pred_keypoint_covariances": lambda factors: factors[:, None] * factors,
    "pred_areas": lambda factors: factors.prod(),
}


class LeadingBoxes(Boxes):
    """Boxes whose change of size other tensors follow. Rows of them are plain boxes.

    Args:
        tensor: (N, 4), shared.
        followers: tensors by their names as fields, changed in place.
    """

    def __init__(self, tensor: Tensor, followers: Mapping[str, Tensor]):
        super().__init__(tensor)
        self.followers = dict(followers)

    def scale(self, scale_x: float, scale_y: float) -> None:
        """Multiply x and y, in place, of the boxes and of what follows them."""
        super().scale(scale_x, scale_y)
        factors = self.tensor.new_tensor([scale_x, scale_y])
        for name, tensor in self.followers.items():
            tensor.mul_(_FACTORS[name](factors))


class PoseInstances(Instances):
    """``Instances`` of people, all of whose fields Detectron2's ``detector_postprocess`` brings to another size.

    Chosen rows, and a copy on another device, are such instances too. What ``detector_postprocess`` gives are plain
    ``Instances``.
    """

    def get_fields(self) -> dict[str, Any]:
        """As of ``Instances``; the boxes are :class:`LeadingBoxes` of the fields as they are now."""
        fields = super().get_fields()
        if "pred_boxes" in fields:
            followers = {name: fields[name] for name in _FACTORS if name in fields}
            fields["pred_boxes"] = LeadingBoxes(fields["pred_boxes"].tensor, followers)
        return fields

    def to(self, *args: Any, **kwargs: Any) -> "PoseInstances":
        """As of ``Instances``."""
        return as_pose_instances(super().to(*args, **kwargs))

    def __getitem__(self, item: Any) -> "PoseInstances":
        return as_pose_instances(super().__getitem__(item))


def as_pose_instances(instances: Instances) -> PoseInstances:
    """Instances with the same fields whose pixels follow."""
    return PoseInstances(instances.image_size, **instances.get_fields())
