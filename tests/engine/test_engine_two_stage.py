"""Two-stage models and given boxes under the trainers: Detectron2's own and ours, from data to metrics."""

import json

import engine_toy
import pytest
import torch
from detectron2.engine import DefaultPredictor, DefaultTrainer
from detectron2.evaluation import COCOEvaluator
from two_stage_toys import TINY_RCNN

from rle_onestage import Trainer, load_config
from rle_onestage.data import build_test_loader
from rle_onestage.data.datasets import load_dataset
from rle_onestage.engine import evaluate_only
from rle_onestage.errors import ConfigError, DataError
from rle_onestage.utils.images import read_image

BACKBONE = [
    "MODEL.BACKBONE.NAME", "ToyPyramid", "MODEL.BACKBONE.FREEZE_AT", "0", "MODEL.RLE_ONESTAGE.FLOW.WARMUP_ITERS", "3",
    "MODEL.RLE_ONESTAGE.FLOW.HIDDEN", "8", "TEST.KEYPOINT_OKS_SIGMAS", "[0.2, 0.25, 0.3]",
    "MODEL.ROI_KEYPOINT_HEAD.NAME", "RLEKeypointHead", "MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS", "3",
    "SOLVER.BASE_LR", "0.01", "SOLVER.MAX_ITER", "30", "SOLVER.CHECKPOINT_PERIOD", "100", "INPUT.RANDOM_FLIP", "none",
]  # fmt: skip
TWO_STAGE = [*TINY_RCNN, *BACKBONE]
STOCK = ["INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.MAX_SIZE_TRAIN", "64", "INPUT.POSE.SIZE", "0"]
TOP_DOWN = [
    *BACKBONE, "MODEL.META_ARCHITECTURE", "TopDownPose", "MODEL.ROI_HEADS.IN_FEATURES", "['p4']",
    "MODEL.RLE_ONESTAGE.TOP_DOWN.CROP_SIZE", "[64, 48]", "MODEL.RLE_ONESTAGE.TOP_DOWN.FLIP_TEST", "True",
    "MODEL.RLE_ONESTAGE.TWO_STAGE.POOLING", "flat", "INPUT.MAPPER", "GivenBoxesMapper",
]  # fmt: skip


class Stock(DefaultTrainer):
    """What Detectron2's documentation asks for: an evaluator, and nothing else."""

    @classmethod
    def build_evaluator(cls, cfg, dataset_name):
        sigmas = cfg.TEST.KEYPOINT_OKS_SIGMAS
        return COCOEvaluator(dataset_name, output_dir=cfg.OUTPUT_DIR, use_fast_impl=False, kpt_oks_sigmas=sigmas)


def test_stock_tools_train_evaluate_and_predict_with_the_head(tmp_path):
    cfg = load_config(str(engine_toy.write_config(tmp_path)), [*TWO_STAGE, *STOCK])
    load_dataset(cfg, "toy_people")  # registers the files of the config
    (tmp_path / "out").mkdir()
    torch.manual_seed(0)
    trainer = Stock(cfg)
    trainer.resume_or_load(resume=False)
    trainer.train()
    losses = trainer.storage.history("loss_keypoint").values()
    assert losses[-1][0] < losses[0][0]
    assert {"bbox", "keypoints"} <= set(trainer._last_eval_results)
    cfg.defrost()
    cfg.MODEL.WEIGHTS = str(tmp_path / "out" / "model_final.pth")
    cfg.INPUT.MIN_SIZE_TEST = cfg.INPUT.MAX_SIZE_TEST = 128  # the network sees twice the image
    people = DefaultPredictor(cfg)(read_image(str(tmp_path / "data" / "images" / "001.png")))["instances"]
    assert people.image_size == (64, 64) and (people.pred_keypoint_sigmas > 0).all()
    table = trainer.model.roi_heads.keypoint_head.decoder.std
    assert not torch.equal(table, torch.ones_like(table))  # that of the trained flow


def test_our_trainer_trains_it_and_its_file_evaluates_alike(tmp_path):
    config = str(engine_toy.write_config(tmp_path, MAX_ITER=6))
    options = [*TWO_STAGE, "SOLVER.MAX_ITER", "6"]
    results = Trainer(load_config(config, options)).train()
    path = str(tmp_path / "out" / "model_final.pth")
    again = evaluate_only(load_config(config, [*options, "MODEL.WEIGHTS", path]))
    for task in ("bbox", "keypoints"):
        assert again[task] == pytest.approx(results[task], nan_ok=True)


def detections(folder, change=lambda entries: entries):
    """A file of detections of the toy's people, made other by ``change``; returns its path."""
    entries = [
        {"image_id": n, "category_id": 1, "bbox": [6.0, 7.0, 44.0, 50.0], "score": 0.5 + 0.05 * n} for n in range(1, 9)
    ]
    path = folder / "detections.json"
    path.write_text(json.dumps(change(entries)))
    return str(path)


def test_given_boxes_top_down_from_labels_and_from_a_file(tmp_path):
    config = str(engine_toy.write_config(tmp_path))
    results = Trainer(load_config(config, TOP_DOWN)).train()
    assert results["bbox"]["AP"] == pytest.approx(100.0)  # the boxes are those of the labels
    assert results["keypoints"]["AP"] > 0
    assert "coverage_80" in results["calibration"]  # the evaluator has the head's density
    path = str(tmp_path / "out" / "model_final.pth")
    files = ["DATASETS.PROPOSAL_FILES_TEST", f"('{detections(tmp_path)}',)", "MODEL.WEIGHTS", path]
    other = evaluate_only(load_config(config, [*TOP_DOWN, *files]))
    assert 0 < other["bbox"]["AP"] < 100 and other["keypoints"]["AP"] > 0


def proposals(tmp_path, change=lambda entries: entries, **size):
    """Given boxes of the first image, of a file of detections."""
    size = size or {"INPUT.MIN_SIZE_TEST": "64", "INPUT.MAX_SIZE_TEST": "64"}
    options = [part for pair in size.items() for part in pair]
    files = ["DATASETS.PROPOSAL_FILES_TEST", f"('{detections(tmp_path, change)}',)", "TEST.DETECTIONS_PER_IMAGE", "2"]
    cfg = load_config(str(engine_toy.write_config(tmp_path)), [*TOP_DOWN, *files, *options])
    return next(iter(build_test_loader(cfg, "toy_people")))[0]["proposals"]


def test_boxes_come_in_the_pixels_of_the_input_the_best_first(tmp_path):
    def more(entries):
        own = [{**entries[0], "bbox": [10, 10, 20, 20], "score": score} for score in (0.2, 0.9)]
        return [*entries, *own, {**own[1], "category_id": 7}, {**own[1], "image_id": 99}]

    given = proposals(tmp_path, more, **{"INPUT.MIN_SIZE_TEST": "128", "INPUT.MAX_SIZE_TEST": "128"})
    expected = torch.tensor([[20.0, 20, 60, 60], [12, 14, 100, 114]])
    torch.testing.assert_close(given.proposal_boxes.tensor, expected)
    torch.testing.assert_close(torch.sigmoid(given.objectness_logits), torch.tensor([0.9, 0.55]))


def test_boxes_beyond_their_image_are_used_as_far_as_they_go_and_said(tmp_path, caplog):
    given = proposals(tmp_path, lambda e: [{**e[0], "bbox": [40, -9, 50, 40]}, {**e[0], "bbox": [70, 0, 9, 9]}])
    assert given.proposal_boxes.tensor.tolist() == [[40.0, 0.0, 64.0, 31.0]]
    assert "1 box reaches beyond the image (cut off), 1 box with nothing in it (left out)" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda entries: {"annotations": entries}, "is no list of detections; give COCO's format of results"),
        (
            lambda entries: [{**entries[0], "bbox": [1, 2, 3]}],
            r"entry 0 is .*; it must have bbox \[x, y, width, height",
        ),
        (lambda entries: [{**entries[0], "score": 55}], "entry 0 .* score from 0 to 1"),
        (lambda entries: [{**entries[0], "image_id": 99}], "has no box of a person on any of the 8 images"),
    ],
)
def test_a_file_of_something_else_is_one_sentence(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        proposals(tmp_path, change)


def test_files_that_are_not_there_or_too_many_are_one_sentence(tmp_path):
    config = str(engine_toy.write_config(tmp_path))
    for files, error, message in (
        ("('no.json',)", DataError, "there is no file no.json of detections"),
        ("('a.json', 'b.json')", ConfigError, "PROPOSAL_FILES_TEST has 2 files, DATASETS.TEST 1 data set"),
    ):
        with pytest.raises(error, match=message):
            build_test_loader(load_config(config, [*TOP_DOWN, "DATASETS.PROPOSAL_FILES_TEST", files]), "toy_people")
