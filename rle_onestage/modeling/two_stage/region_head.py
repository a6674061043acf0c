"""What keypoint heads of regions have in common: Detectron2's contract, mirrors, and gradients of every parameter."""

from collections.abc import Sequence
from typing import Generic, TypeVar

from detectron2.structures import Instances
from torch import Tensor, nn

from ..losses import zero_of
from .regions import cat_boxes, regions_of

Raw = TypeVar("Raw")


class RegionHead(nn.Module, Generic[Raw]):
    """A keypoint head; a subclass says what its layers give, what that loses, and what people it means.

    Attributes:
        flip_index: (K,) which joint is which in a mirror.
    """

    flip_index: list[int]

    def forward(
        self, features: Tensor, instances: list[Instances], mirrored: Tensor | None = None
    ) -> dict[str, Tensor] | list[Instances]:
        """Detectron2's contract: dict of losses in training, else ``instances`` with the fields of people.

        Args:
            features: (P, C, H, W) pooled, of all images.
            instances: of each image; regions are ``proposal_boxes`` in training, with labels ``gt_*``, and
                ``pred_boxes`` at test. Where the region is not the person's box, that is ``person_boxes``.
            mirrored: (P, C, H, W) of the same regions in a mirror; both answers count half.
        """
        raw = self.layers(features)
        if mirrored is not None:
            raw = self.averaged(raw, self.layers(mirrored))
        regions = cat_boxes([regions_of(each, self.training) for each in instances], features)
        if not self.training:
            return self.decoded(raw, regions, instances)
        losses = self.losses(raw, regions, instances)
        # Every parameter has a gradient, 0 where nobody has labels: DDP and clipping want one.
        zero = zero_of(parameter for parameter in self.parameters() if parameter.requires_grad)
        return {**losses, "loss_keypoint": losses["loss_keypoint"] + zero}

    def layers(self, features: Tensor) -> Raw:
        """What the network says of pooled features (P, C, H, W)."""
        raise NotImplementedError

    def averaged(self, raw: Raw, mirrored: Raw) -> Raw:
        """Half of what is said of the regions, and half of what is said of them in a mirror."""
        raise NotImplementedError

    def losses(self, raw: Raw, regions: Tensor, instances: Sequence[Instances]) -> dict[str, Tensor]:
        """Scalars by name, ``loss_keypoint`` among them; ``regions``: (P, 4)."""
        raise NotImplementedError

    def decoded(self, raw: Raw, regions: Tensor, instances: list[Instances]) -> list[Instances]:
        """The instances with the fields of people; ``regions``: (P, 4)."""
        raise NotImplementedError
