"""Regions of people in Detectron2's instances, and what the keypoint heads read of the config alike."""

from collections.abc import Sequence

import torch
from detectron2.config import CfgNode
from detectron2.structures import Boxes, Instances
from torch import Tensor

from ...errors import ConfigError
from ..density.presets import configured_flip_pairs


def regions_of(instances: Instances, training: bool) -> Boxes:
    """The regions that features were pooled from."""
    return instances.proposal_boxes if training else instances.pred_boxes


def person_boxes_of(instances: Instances) -> Boxes:
    """The people's boxes at test: ``person_boxes`` where the regions are others."""
    return instances.person_boxes if instances.has("person_boxes") else instances.pred_boxes


def scores_of(instances: Instances) -> Tensor:
    """Scores (N,) of boxes; 1 where they are given without any."""
    return instances.scores if instances.has("scores") else instances.pred_boxes.tensor.new_ones(len(instances))


def cat_boxes(boxes: Sequence[Boxes], features: Tensor) -> Tensor:
    """Boxes (P, 4) of all images in float32, on the device of the features."""
    return torch.cat([each.tensor for each in boxes]).float().to(features.device)


def check_joints(cfg: CfgNode) -> None:
    """Check that both keys give the same number of joints.

    Raises:
        ConfigError: they do not.
    """
    heads, ours = cfg.MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS, cfg.MODEL.RLE_ONESTAGE.NUM_KEYPOINTS
    if heads != ours:
        raise ConfigError(
            f"MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS is {heads}, but MODEL.RLE_ONESTAGE.NUM_KEYPOINTS, which the "
            f"density and the data go by, is {ours}; give both the number of joints"
        )


def configured_flip_index(cfg: CfgNode, joints: int) -> list[int]:
    """Which of the joints is which in a mirror, by the config's data sets, else COCO's."""
    index = list(range(joints))
    for left, right in configured_flip_pairs(cfg, joints):
        index[left], index[right] = right, left
    return index
