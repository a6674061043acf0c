"""Every config of the repository loads, builds, and takes a training step at a small input size."""

import logging
from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from modeling_toys import make_input

from rle_onestage.engine.optimizer import build_optimizer
from rle_onestage.engine.setup import load_config

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = [ROOT / "configs", *sorted(ROOT.glob("projects/*/configs"))]
# These are for configs with a model: data sets, and the size of a training.
CONFIGS = sorted(
    str(path.relative_to(ROOT))
    for folder in FOLDERS
    for path in folder.rglob("*.yaml")
    if path.name not in ("Base-data.yaml", "Base-small.yaml")
)
OFFLINE = ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "MODEL.RLE_ONESTAGE.TIMM.PRETRAINED", "False"]


@pytest.mark.parametrize("name", CONFIGS)
def test_config_builds_and_trains(name, caplog):
    cfg = load_config(str(ROOT / name), [*OFFLINE, "MODEL.RLE_ONESTAGE.FLOW.WARMUP_ITERS", "0"])
    # No key without effect.
    assert not [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    torch.manual_seed(0)
    model = build_model(cfg).train()
    optimizer = build_optimizer(cfg, model)
    joints = cfg.MODEL.RLE_ONESTAGE.NUM_KEYPOINTS
    batch = [
        make_input(1, [(5, 5, 50, 60, joints), (30, 20, 62, 62, 3)], num_joints=joints),
        make_input(2, [], num_joints=joints),
    ]
    with EventStorage():
        losses = model(batch)
    total = sum(losses.values())
    assert all(torch.isfinite(loss) for loss in losses.values()), losses
    total.backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in trained)
    heads = [p for name, p in model.named_parameters() if "head" in name and p.requires_grad]
    before = [p.detach().clone() for p in heads]
    optimizer.step()
    assert not all(torch.equal(*pair) for pair in zip(before, heads))


def test_all_that_is_promised_is_there():
    assert {
        "configs/Base-RLEOneStage.yaml",
        "configs/quickstart.yaml",
        "configs/coco/rle_onestage_R50_FPN_1x.yaml",
        "configs/coco/rle_onestage_R50_FPN_3x.yaml",
        "configs/coco/rle_onestage_R101_FPN_3x.yaml",
        "configs/coco/centernet_R50_FPN_1x.yaml",
        "configs/losses/l1.yaml",
        "configs/losses/laplace.yaml",
        "configs/losses/rle_released.yaml",
        "configs/real/coco_micro_overfit.yaml",
        "configs/real/lspet.yaml",
        "projects/loss_comparison/configs/keypoint_rcnn_synthetic.yaml",
        "projects/loss_comparison/configs/keypoint_rcnn_lspet.yaml",
        "configs/coco/keypoint_rcnn_R_50_FPN_1x_rle.yaml",
        "configs/coco/topdown_R50_256x192_heatmap.yaml",
        "configs/coco/topdown_R50_256x192_rle.yaml",
    } <= set(CONFIGS)


def test_outputs_do_not_overwrite_one_another():
    folders = [load_config(str(ROOT / name), OFFLINE).OUTPUT_DIR for name in CONFIGS if "Base" not in name]
    assert len(set(folders)) == len(folders)
