"""Heads that learn on what a frozen trunk has seen, by this project's optimizer and schedule."""

import os
from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Instances
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from rle_onestage.data.lookup import known_joints
from rle_onestage.engine.checkpoint.joints import naming
from rle_onestage.engine.inference import evaluate
from rle_onestage.engine.optimizer import GradientClipper, build_lr_scheduler, build_optimizer
from rle_onestage.modeling.two_stage.top_down import TopDownPose
from rle_onestage.utils.safe_files import save_tensors, write_text
from rle_onestage.video.io import make_folder

from .features import LEVEL, Seen


class OnFeatures(nn.Module):
    """The parts of a top-down model that come after its trunk.

    Args:
        model: see :func:`~.features.top_down_model`; its parts are shared.
    """

    def __init__(self, model: TopDownPose):
        super().__init__()
        neck: Any = model.backbone.neck
        self.neck, self.keypoint_head = neck[f"p{LEVEL}"], model.keypoint_head

    def losses(self, maps: Sequence[Tensor], people: list[Instances]) -> dict[str, Tensor]:
        """Scalars by name."""
        return self.keypoint_head(self.neck(maps).contiguous(), people)

    def forward(self, inputs: Sequence[dict[str, Any]]) -> list[dict[str, Instances]]:
        """The people of :func:`~.features.test_features`, as an architecture of Detectron2's answers."""
        outputs = []
        for sample in inputs:
            asked = Instances(sample["people"].image_size, **sample["people"].get_fields())
            found = self.keypoint_head(self.neck([each.float() for each in sample["maps"]]).contiguous(), [asked])[0]
            found.pred_boxes = found.person_boxes.clone()  # scaled in place at the end
            found.remove("person_boxes")
            outputs.append({"instances": detector_postprocess(found, sample["height"], sample["width"])})
        return outputs


def train(cfg: CfgNode, whole: TopDownPose, model: OnFeatures, seen: Seen) -> None:
    """Train for ``SOLVER.MAX_ITER`` steps; every person comes once before any comes again.

    Args:
        cfg: reads ``SOLVER`` and ``SEED``.
        whole: the architecture that the parts belong to; its trunk is frozen.
        model: its parts; changed in place.
        seen: the training set.
    """
    optimizer = build_optimizer(cfg, whole)
    schedule, clip = build_lr_scheduler(cfg, optimizer), GradientClipper.from_config(cfg, whole)
    generator = torch.Generator().manual_seed(cfg.SEED)
    size, order = cfg.SOLVER.IMS_PER_BATCH, torch.zeros(0, dtype=torch.int64)
    model.train()
    with EventStorage() as storage:
        for _ in range(cfg.SOLVER.MAX_ITER):
            if len(order) < size:
                order = torch.cat([order, torch.randperm(len(seen.people), generator=generator)])
            losses = model.losses(*seen.batch(order[:size]))
            order = order[size:]
            optimizer.zero_grad()
            torch.stack(list(losses.values())).sum().backward()
            clip()
            optimizer.step()
            schedule.step()
            storage.step()
    model.eval()


def finish(cfg: CfgNode, whole: TopDownPose, model: OnFeatures, tests: dict[str, list]) -> None:
    """Evaluate, and write what a run of ``train.sh`` has: config, weights, results and metrics.

    Args:
        cfg: with ``OUTPUT_DIR``.
        whole: the architecture that the trained parts belong to.
        model: trained.
        tests: set -> its :func:`~.features.test_features`.
    """
    make_folder(cfg.OUTPUT_DIR)
    write_text(os.path.join(cfg.OUTPUT_DIR, "config.yaml"), cfg.dump())
    save_tensors(
        os.path.join(cfg.OUTPUT_DIR, "model_final.pth"), {"model": whole.state_dict(), **naming(known_joints(cfg))}
    )
    evaluate(cfg, model, build_loader=lambda _, dataset: tests[dataset])
