"""The two-stage baseline: its heads' precision, its results, and its cost beside ours by the number of people."""

from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from loss_comparison.cost import ONE_STAGE, TWO_STAGE, PeakMemory, TwoStage, format_costs, infer, measure, measure_heads
from modeling_toys import make_input

from rle_onestage import Predictor
from rle_onestage.engine.setup import load_config
from rle_onestage.errors import ConfigError
from rle_onestage.evaluation import instances_to_coco

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
BASELINE, OURS = str(CONFIGS / "keypoint_rcnn.yaml"), str(CONFIGS / "synthetic.yaml")
SMALL = [
    "MODEL.DEVICE", "cpu", "MODEL.RLE_ONESTAGE.TIMM.NAME", "mobilenetv4_conv_small_050",
    "MODEL.RLE_ONESTAGE.TIMM.FPN_CHANNELS", "16",
]  # fmt: skip


def test_regions_are_cut_in_float32_under_autocast():
    """In bfloat16 the boxes themselves would be rounded, to a pixel at x = 200."""
    torch.manual_seed(0)
    model = build_model(load_config(BASELINE, SMALL)).train()
    seen = []
    pooler = model.roi_heads.keypoint_pooler
    pooler.register_forward_pre_hook(lambda _, inputs: seen.append([maps.dtype for maps in inputs[0]]))
    batch = [make_input(1, [(5, 5, 50, 60, 17), (30, 20, 62, 62, 3)]), make_input(2, [])]
    with EventStorage(), torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model(batch)
    assert seen == [[torch.float32]]
    assert {"loss_keypoint", "loss_cls", "loss_box_reg", "loss_rpn_cls", "loss_rpn_loc"} == set(losses)
    sum(losses.values()).backward()


def test_it_shows_so_many_people_and_then_its_own_again():
    side = TwoStage(load_config(BASELINE, SMALL), (64, 64))
    own = len(infer(side, 3)), len(infer(side, 1))
    predictor = side.model.roi_heads.box_predictor
    assert own == (3, 1) and predictor.test_topk_per_image == 20 and predictor.test_score_thresh == 0.01
    results = instances_to_coco(infer(side, 2), image_id=7)
    assert len(results) == 2 and np.shape(results[0]["keypoints"]) == (51,) and "score_factors" not in results[0]


def test_cost_grows_with_people_by_the_keypoint_head_alone(tmp_path):
    report = measure(
        OURS, BASELINE, size=64, people=[1, 3], threads=[1], rounds=1, one_options=SMALL, two_options=SMALL
    )
    ours, theirs = report[ONE_STAGE]["people"], report[TWO_STAGE]["people"]
    assert ours[1]["gflops"] == ours[3]["gflops"]
    # By hand, for a person: four 3 x 3 convolutions on 14 x 14 and the 4 x 4 deconvolution to 17 joints, from 14 x 14.
    person = 2 * 14 * 14 * (9 * (16 * 128 + 3 * 128 * 128) + 16 * 128 * 17) / 1e9
    assert theirs[3]["gflops"] - theirs[1]["gflops"] == pytest.approx(2 * person, rel=1e-6)
    # One more person takes its maps at least: 56 x 56 for each joint, in float32.
    assert theirs[3]["peak_mb"] - theirs[1]["peak_mb"] > 2 * 56 * 56 * 17 * 4 / 1e6
    backbone = sum(p.numel() for p in build_model(load_config(BASELINE, SMALL)).backbone.parameters()) / 1e6
    for side in (ONE_STAGE, TWO_STAGE):
        assert report[side]["parameters_M"] - report[side]["own_parameters_M"] == pytest.approx(backbone)
    text = format_costs(report)
    assert "1 thread" in text and "| two-stage |" in text


def test_regression_costs_a_person_less_and_the_flow_nothing():
    config = str(CONFIGS / "keypoint_rcnn_rle_synthetic.yaml")
    heads = {
        "heatmap": [*SMALL, "MODEL.ROI_KEYPOINT_HEAD.NAME", "KRCNNConvDeconvUpsampleHead"],
        "rle": SMALL,
        "l1": [*SMALL, "MODEL.RLE_ONESTAGE.DENSITY", "l1"],
    }
    report = measure_heads(config, heads, size=64, people=[1, 3], threads=[1], rounds=1)
    heatmap, rle, plain = (report[name]["people"] for name in heads)
    assert [rle[n]["gflops"] for n in rle] == [plain[n]["gflops"] for n in plain]
    assert rle[3]["gflops"] - rle[1]["gflops"] < (heatmap[3]["gflops"] - heatmap[1]["gflops"]) / 2
    assert "| heatmap |" in format_costs(report)


def test_what_cannot_be_measured_is_a_sentence():
    with pytest.raises(ConfigError, match="GeneralizedRCNN"):
        TwoStage(load_config(OURS, SMALL), (64, 64))
    with pytest.raises(ConfigError, match="99"):
        measure(OURS, BASELINE, size=64, people=[99], threads=[1], rounds=1, one_options=SMALL, two_options=SMALL)


def test_peak_is_of_what_lives_at_the_same_time():
    model = torch.nn.Linear(10, 10)
    with PeakMemory(model) as memory:
        model.weight.t()  # the weights' own
        first = torch.ones(1000)
        second = first + 1
        del first
        second.view(10, 100).add_(1)
        del second
        torch.zeros(1500)
    assert memory.peak == 8000


def test_the_baseline_predicts(tmp_path):
    """Detectron2's own architectures have no batch norms of ours to fold."""
    size = ["INPUT.MIN_SIZE_TEST", 64, "INPUT.MAX_SIZE_TEST", 64]
    cfg = load_config(str(CONFIGS / "keypoint_rcnn_synthetic.yaml"), ["MODEL.DEVICE", "cpu", *size])
    torch.manual_seed(0)
    path = tmp_path / "model.pth"
    torch.save({"model": build_model(cfg).state_dict()}, path)
    assert Predictor(cfg, str(path))(np.zeros((64, 64, 3), np.uint8)).image_size == (64, 64)
