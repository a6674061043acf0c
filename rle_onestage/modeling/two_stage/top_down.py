"""Top-down: crops of people whose boxes are given, each seen by the backbone alone."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import META_ARCH_REGISTRY, Backbone, build_backbone, build_keypoint_head
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, ImageList, Instances
from torch import Tensor, nn
from torchvision.ops import roi_align

from ...errors import ConfigError, DataError
from ..losses import zero_of


class CropOptions(NamedTuple):
    """What of an image the backbone sees of a person."""

    height: int
    width: int
    padding: float = 1.0  # the crop's side over the box's
    scale_jitter: float = 0.0  # in training: largest change of the size
    shift_jitter: float = 0.0  # in training: largest shift, as a share of the side


def crop_regions(boxes: Tensor, crop: CropOptions) -> Tensor:
    """The smallest regions with the crop's aspect about the centres of boxes that hold these, padded.

    Args:
        boxes: (N, 4) in pixels.
        crop: aspect and padding.

    Returns:
        (N, 4), which may reach beyond the image.
    """
    centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)
    aspect = crop.width / crop.height
    height = torch.maximum(size[:, 1], size[:, 0] / aspect) * crop.padding
    half = torch.stack([height * aspect, height], 1) / 2
    return torch.cat([centre - half, centre + half], 1)


def jittered(regions: Tensor, crop: CropOptions) -> Tensor:
    """Regions (N, 4) of other sizes at other places, each drawn uniformly; the aspect stays."""
    centre, size = (regions[:, :2] + regions[:, 2:]) / 2, regions[:, 2:] - regions[:, :2]
    factor, shift = (2 * torch.rand(len(regions), n, device=regions.device) - 1 for n in (1, 2))
    half = size * (1 + crop.scale_jitter * factor) / 2
    centre = centre + crop.shift_jitter * shift * size
    return torch.cat([centre - half, centre + half], 1)


@META_ARCH_REGISTRY.register()
class TopDownPose(nn.Module):
    """Given boxes to poses: crops by ROIAlign on the image, a backbone, and a keypoint head of Detectron2's registry.

    In training the boxes are those of the labels. At test they are ``proposals``, as Detectron2's precomputed ones are;
    ``INPUT.MAPPER GivenBoxesMapper`` gives those of the labels or of a file.

    Args:
        backbone: a Detectron2 backbone.
        feature: name of the map that the head sees.
        head: such as ``RLEKeypointHead``.
        crop: of each person.
        flip_test: whether the crop in a mirror counts half at test.
        most: people of an image in training.
        pixel_mean: of each channel.
        pixel_std: of each channel.
        input_format: of the images, "BGR" or "RGB".
    """

    pixel_mean: Tensor
    pixel_std: Tensor
    # What gives images alone to a model asks for this first.
    needs_boxes = True

    @configurable
    def __init__(
        self,
        *,
        backbone: Backbone,
        feature: str,
        head: nn.Module,
        crop: CropOptions,
        flip_test: bool,
        most: int,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        input_format: str,
    ):
        super().__init__()
        self.backbone, self.feature, self.keypoint_head = backbone, feature, head
        self.crop, self.flip_test, self.most, self.input_format = crop, flip_test, most, input_format
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), persistent=False)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """The parts that ``cfg`` describes.

        Raises:
            ConfigError: the backbone has no such map, the crop is no multiple of its stride, or Detectron2's own head
                is asked for what it cannot do.
        """
        backbone, options = build_backbone(cfg), cfg.MODEL.RLE_ONESTAGE.TOP_DOWN
        feature, (height, width) = cfg.MODEL.ROI_HEADS.IN_FEATURES[0], options.CROP_SIZE
        shapes = backbone.output_shape()
        if feature not in shapes:
            raise ConfigError(
                f"MODEL.ROI_HEADS.IN_FEATURES names {feature!r}, but the backbone gives {sorted(shapes)}; choose one"
            )
        stride = max(shapes[feature].stride, backbone.size_divisibility)
        if height % stride or width % stride:
            raise ConfigError(
                f"MODEL.RLE_ONESTAGE.TOP_DOWN.CROP_SIZE is {[height, width]}; with this backbone both must be "
                f"multiples of {stride}"
            )
        _check_stock_head(cfg)
        own = shapes[feature].stride
        shape = ShapeSpec(channels=shapes[feature].channels, height=height // own, width=width // own, stride=own)
        return {
            "backbone": backbone,
            "feature": feature,
            "head": build_keypoint_head(cfg, shape),
            "crop": CropOptions(height, width, options.PADDING, options.SCALE_JITTER, options.SHIFT_JITTER),
            "flip_test": options.FLIP_TEST,
            "most": cfg.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "input_format": cfg.INPUT.FORMAT,
        }

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.pixel_mean.device

    def preprocess_image(self, inputs: Sequence[Mapping[str, Any]]) -> ImageList:
        """Normalise and pad to one tensor."""
        images = [x["image"].to(self.device, non_blocking=True).float() for x in inputs]
        return ImageList.from_tensors([(image - self.pixel_mean) / self.pixel_std for image in images])

    def forward(self, inputs: list[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Instances]]:
        """Detectron2's contract: dict of losses in training, ``[{"instances": Instances}]`` otherwise.

        Args:
            inputs: dicts with "image" (3, H, W); in training "instances", else "proposals"; "height" and "width" of the
                output.

        Raises:
            DataError: there are no proposals at test.
        """
        images = self.preprocess_image(inputs)
        if self.training:
            return self._losses(images, [self._labelled(x["instances"]) for x in inputs])
        people = [self._given(x) for x in inputs]
        result = self.poses(images.tensor, people)
        sizes = [(x.get("height", h), x.get("width", w)) for x, (h, w) in zip(inputs, images.image_sizes)]
        return [{"instances": detector_postprocess(each, *size)} for each, size in zip(result, sizes)]

    def poses(self, images: Tensor, people: Sequence[Instances]) -> list[Instances]:
        """The people of given boxes with what the head says of them, in pixels of the network's input.

        Args:
            images: (B, 3, H, W) normalised and padded.
            people: of each, with ``pred_boxes``, ``scores`` and ``pred_classes``.
        """
        asked = []
        for each in people:
            regions = Instances(each.image_size, **each.get_fields())
            regions.person_boxes = each.pred_boxes
            regions.pred_boxes = Boxes(crop_regions(each.pred_boxes.tensor, self.crop))
            asked.append(regions)
        crops = self.crops(images, [each.pred_boxes.tensor for each in asked])
        mirrored = {"mirrored": self.features(crops.flip(-1))} if self.flip_test else {}
        found = self.keypoint_head(self.features(crops), asked, **mirrored)
        for each in found:
            each.pred_boxes = each.person_boxes
            each.remove("person_boxes")
        return found

    def features(self, crops: Tensor) -> Tensor:
        """What the head sees (P, C, H, W) of crops (P, 3, height, width); in the layout that Detectron2's needs."""
        return self._maps(crops)[self.feature].contiguous() if len(crops) else self._nothing(crops)

    def _nothing(self, crops: Tensor) -> Tensor:
        """What the head sees (0, C, H, W) where nobody is: not every backbone takes a batch of none."""
        shape = self.backbone.output_shape()[self.feature]
        return crops.new_zeros(0, shape.channels, self.crop.height // shape.stride, self.crop.width // shape.stride)

    def _maps(self, crops: Tensor) -> dict[str, Tensor]:
        return self.backbone(crops.contiguous(memory_format=torch.channels_last))

    def crops(self, images: Tensor, regions: Sequence[Tensor]) -> Tensor:
        """What the backbone sees (P, 3, height, width); beyond the image it is the mean colour.

        Each pixel is the mean over as many samples as it covers pixels of the image, so that large people do not alias.

        Args:
            images: (B, 3, H, W) normalised and padded.
            regions: (n, 4) of each image.
        """
        size = (self.crop.height, self.crop.width)
        with torch.autocast(images.device.type, enabled=False):
            return roi_align(images, [part.to(images) for part in regions], size, 1.0, -1, True)

    def _losses(self, images: ImageList, people: Sequence[Instances]) -> dict[str, Tensor]:
        for each in people:
            regions = jittered(crop_regions(each.gt_boxes.tensor, self.crop), self.crop)
            each.proposal_boxes = Boxes(regions)
        crops = self.crops(images.tensor, [each.proposal_boxes.tensor for each in people])
        losses = self.keypoint_head(self.features(crops), people)
        # Every parameter has a gradient, 0 where this batch or this map has no use for it: DDP and clipping want one.
        zero = zero_of(parameter for parameter in self.backbone.parameters() if parameter.requires_grad)
        return {**losses, "loss_keypoint": losses["loss_keypoint"] + zero}

    def _labelled(self, instances: Instances) -> Instances:
        """Those with a labelled joint, so many at most, drawn at random."""
        instances = instances.to(self.device)
        if not len(instances) or not instances.has("gt_keypoints"):
            result = Instances(instances.image_size)
            result.gt_boxes = Boxes(torch.zeros(0, 4, device=self.device))
            return result
        chosen = (instances.gt_keypoints.tensor[..., 2] > 0).any(1).nonzero()[:, 0]
        if len(chosen) > self.most:
            chosen = chosen[torch.randperm(len(chosen), device=chosen.device)[: self.most]]
        return instances[chosen]

    def _given(self, sample: Mapping[str, Any]) -> Instances:
        if "proposals" not in sample:
            raise DataError(
                f"{sample.get('file_name', 'an image')} comes without boxes, which TopDownPose needs at test; give "
                "proposals (rle_onestage.data.given_boxes.as_proposals), or in a config INPUT.MAPPER GivenBoxesMapper, "
                "or MODEL.LOAD_PROPOSALS with Detectron2's own mapper"
            )
        given = sample["proposals"].to(self.device)
        people = Instances(given.image_size)
        people.pred_boxes = given.proposal_boxes.clone()  # scaled in place at the end
        people.scores = torch.sigmoid(given.objectness_logits)
        people.pred_classes = torch.zeros(len(given), dtype=torch.int64, device=self.device)
        return people


def _check_stock_head(cfg: CfgNode) -> None:
    """Detectron2's own heatmaps are square, and know no mirror."""
    name, options = cfg.MODEL.ROI_KEYPOINT_HEAD.NAME, cfg.MODEL.RLE_ONESTAGE.TOP_DOWN
    height, width = options.CROP_SIZE
    if name == "KRCNNConvDeconvUpsampleHead" and (options.FLIP_TEST or height != width):
        raise ConfigError(
            f"MODEL.ROI_KEYPOINT_HEAD.NAME is {name}, which takes square crops and no mirror; give a square "
            "MODEL.RLE_ONESTAGE.TOP_DOWN.CROP_SIZE and FLIP_TEST False, or take RLEKeypointHead or "
            "SimplePoseKeypointHead"
        )
