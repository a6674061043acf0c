"""What a frozen trunk sees of the crops of a set, computed once: heads then learn on it in seconds."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from detectron2.config import CfgNode
from detectron2.structures import Boxes, Instances
from torch import Tensor

from rle_onestage.data.loader import build_test_loader, build_train_loader
from rle_onestage.engine.models import build_architecture
from rle_onestage.errors import ConfigError
from rle_onestage.modeling.backbone.movenet import MoveNetPyramid
from rle_onestage.modeling.two_stage.top_down import TopDownPose, crop_regions, jittered

LEVEL = 5  # the logarithm of the stride of the maps that the heads see


class Seen(NamedTuple):
    """Labelled people in crops.

    ``maps``: the trunk's at stride 32, each (N, C, H, W) in float16. ``people``: N ``Instances`` of one person each,
    with labels and ``proposal_boxes``, the region of the crop.
    """

    maps: list[Tensor]
    people: list[Instances]

    def batch(self, rows: Tensor) -> tuple[list[Tensor], list[Instances]]:
        """Maps (P, C, H, W) and people of some rows (P,)."""
        return [each[rows].float() for each in self.maps], [self.people[row] for row in rows.tolist()]


def top_down_model(cfg: CfgNode) -> TopDownPose:
    """The config's model in evaluation mode.

    Raises:
        ConfigError: it is no top-down one on MoveNet's trunk at stride 32 without a flip test.
    """
    model = build_architecture(cfg).eval()
    if isinstance(model, TopDownPose) and isinstance(model.backbone, MoveNetPyramid):
        if model.feature == "p5" and not model.flip_test:
            return model
    raise ConfigError(
        "heads on stored features need MODEL.META_ARCHITECTURE TopDownPose, MODEL.BACKBONE.NAME "
        'build_movenet_backbone and MODEL.ROI_HEADS.IN_FEATURES ["p5"], as projects/paper_tables/configs have them, '
        "and MODEL.RLE_ONESTAGE.TOP_DOWN.FLIP_TEST False"
    )


@torch.no_grad()
def see(model: TopDownPose, images: Tensor, regions: Sequence[Tensor]) -> list[Tensor]:
    """The trunk's maps of the crops."""
    trunk: Any = model.backbone.trunk
    with torch.autocast(images.device.type, torch.bfloat16):
        maps = trunk(model.crops(images, regions).contiguous(memory_format=torch.channels_last), [LEVEL])[LEVEL]
    return [each.half().contiguous() for each in maps]


def training_features(cfg: CfgNode, model: TopDownPose, batches: int) -> Seen:
    """Of so many batches of the training set, augmented as in a training.

    Args:
        cfg: of the data.
        model: see :func:`top_down_model`.
        batches: of ``SOLVER.IMS_PER_BATCH`` images.
    """
    maps: list[list[Tensor]] = []
    rows: list[Instances] = []
    for _, batch in zip(range(batches), build_train_loader(cfg, 0)):
        people = [model._labelled(sample["instances"]) for sample in batch]
        people = [each for each in people if len(each)]
        for each in people:
            each.proposal_boxes = Boxes(jittered(crop_regions(each.gt_boxes.tensor, model.crop), model.crop))
            rows += [each[row : row + 1] for row in range(len(each))]
        regions = {id(each): each.proposal_boxes.tensor for each in people}
        maps.append(see(model, model.preprocess_image(batch).tensor, [regions[id(each)] for each in people]))
    return Seen([torch.cat(parts) for parts in zip(*maps)], rows)


def test_features(cfg: CfgNode, model: TopDownPose, dataset: str) -> list[list[dict[str, Any]]]:
    """Batches of the inputs of a test set, which have ``maps`` and ``people`` with the given boxes, and no image.

    Args:
        cfg: of the data.
        model: see :func:`top_down_model`.
        dataset: registered.
    """
    return [_without_image(model, sample) for batch in build_test_loader(cfg, dataset) for sample in batch]


def _without_image(model: TopDownPose, sample: dict[str, Any]) -> list[dict[str, Any]]:
    people, image = model._given(sample), model.preprocess_image([sample]).tensor
    people.person_boxes = people.pred_boxes
    people.pred_boxes = Boxes(crop_regions(people.pred_boxes.tensor, model.crop))
    kept = {key: value for key, value in sample.items() if key not in ("image", "proposals")}
    return [{**kept, "maps": see(model, image, [people.pred_boxes.tensor]), "people": people}]
