"""Stock Detectron2 with our config: its trainer trains it, its evaluator says of every file what ours says."""

import json
import re
from pathlib import Path

import engine_toy
import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.engine import DefaultTrainer
from detectron2.evaluation import COCOEvaluator
from detectron2.modeling import build_model
from engine_kills import started

from rle_onestage.data.datasets import load_dataset
from rle_onestage.engine import evaluate_only, load_config, read_checkpoint
from rle_onestage.engine.checkpoint import slim

DOCS = Path(__file__).resolve().parents[2] / "docs"
OPTIONS = ["MODEL.KEYPOINT_ON", "True", "INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.MAX_SIZE_TRAIN", "64"]
OPTIONS += ["INPUT.POSE.SIZE", "0", "MODEL.RLE_ONESTAGE.FLOW.WARMUP_ITERS", "0", "SOLVER.MAX_ITER", "30"]
# Metrics that are neither 0 nor 100 after a training of seconds.
OPTIONS += ["TEST.KEYPOINT_OKS_SIGMAS", "[0.2, 0.25, 0.3]"]
OPTIONS += ["SOLVER.BASE_LR", "0.02", "MODEL.RLE_ONESTAGE.TEST.SCORE_THRESH", "0.0", "SOLVER.CHECKPOINT_PERIOD", "100"]


class Stock(DefaultTrainer):
    """What Detectron2's documentation asks for: an evaluator, and nothing else."""

    @classmethod
    def build_evaluator(cls, cfg, dataset_name):
        return COCOEvaluator(
            dataset_name, output_dir=cfg.OUTPUT_DIR, use_fast_impl=False, kpt_oks_sigmas=cfg.TEST.KEYPOINT_OKS_SIGMAS
        )


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    """(config, its folder, losses, results) of a training by Detectron2's own trainer."""
    folder = tmp_path_factory.mktemp("stock")
    config = str(engine_toy.write_config(folder))
    cfg = load_config(config, [*engine_toy.REAL, *OPTIONS])
    load_dataset(cfg, "toy_people")  # registers the files of the config
    (folder / "out").mkdir()
    torch.manual_seed(0)
    trainer = Stock(cfg)
    trainer.resume_or_load(resume=False)
    losses = []
    step = trainer.run_step
    trainer.run_step = lambda: (step(), losses.append(trainer.storage.history("total_loss").latest()))
    trainer.train()
    return cfg, folder / "out", losses, trainer._last_eval_results


def variants(path, folder):
    """The checkpoint; without what only training needs; with a correction of sigma, whole and slim."""
    whole = read_checkpoint(str(path))
    corrected = {**whole["model"], "decoder.correction": torch.tensor([0.4, 0.9]).expand(3, 2)}
    contents = {
        "whole": {"model": whole["model"]}, "slim": slim(whole), "calibrated": {"model": corrected},
        "slim and calibrated": slim({"model": corrected}),
    }  # fmt: skip
    for name, content in contents.items():
        torch.save(content, folder / f"{name}.pth")
    return {name: str(folder / f"{name}.pth") for name in contents}


def numbers(results):
    """AP of both tasks: metrics that both evaluators have."""
    return {(task, name): results[task][name] for task in ("bbox", "keypoints") for name in ("AP", "AP50", "AP75")}


def test_the_stock_trainer_trains_our_config(stock):
    _, folder, losses, results = stock
    assert len(losses) == 30 and sum(losses[-5:]) < sum(losses[:5])
    assert (folder / "model_final.pth").exists() and all(
        0 < results[task]["AP"] < 100 for task in ("bbox", "keypoints")
    )


@pytest.mark.parametrize("name", ["whole", "slim", "calibrated", "slim and calibrated"])
def test_the_stock_evaluator_gives_our_metrics(stock, tmp_path, name):
    cfg, folder, _, results = stock
    cfg = cfg.clone()
    cfg.defrost()
    cfg.OUTPUT_DIR = str(tmp_path)
    cfg.MODEL.WEIGHTS = variants(folder / "model_final.pth", tmp_path)[name]
    model = build_model(cfg)
    DetectionCheckpointer(model).load(cfg.MODEL.WEIGHTS)  # as Detectron2's train_net.py --eval-only does
    theirs, ours = Stock.test(cfg, model), evaluate_only(cfg)
    assert numbers(theirs) == pytest.approx(numbers(ours), abs=1e-6)
    if name in ("whole", "slim"):
        assert numbers(theirs) == pytest.approx(numbers(results), abs=1e-6)


def test_the_stock_evaluator_gives_our_metrics_for_a_model_of_two_processes(tmp_path):
    config = str(engine_toy.write_config(tmp_path))
    options = [*engine_toy.REAL, *OPTIONS, "INPUT.POSE.SIZE", "64", "SOLVER.MAX_ITER", "16"]
    process = started(tmp_path, *options, processes_count=2)
    assert process.wait() == 0, process.log.read_text()
    in_training = json.loads((tmp_path / "out" / "metrics.json").read_text())
    cfg = load_config(config, [*options, "MODEL.WEIGHTS", str(tmp_path / "out" / "model_final.pth")])
    load_dataset(cfg, "toy_people")
    model = build_model(cfg)
    DetectionCheckpointer(model).load(cfg.MODEL.WEIGHTS)
    theirs = numbers(Stock.test(cfg, model))
    assert all(0 < theirs[task, "AP"] < 100 for task in ("bbox", "keypoints"))
    assert theirs == pytest.approx(numbers(in_training), abs=1e-6)
    assert theirs == pytest.approx(numbers(evaluate_only(cfg)), abs=1e-6)


def test_the_stock_evaluator_by_config_beside_ours(stock, tmp_path):
    cfg = stock[0].clone()
    cfg.defrost()
    cfg.OUTPUT_DIR, cfg.MODEL.WEIGHTS = str(tmp_path), str(stock[1] / "model_final.pth")
    options = {"use_fast_impl": False, "kpt_oks_sigmas": list(cfg.TEST.KEYPOINT_OKS_SIGMAS)}
    cfg.TEST.EVALUATORS = ["PoseEvaluator", ["detectron2.evaluation.COCOEvaluator", options]]
    results = evaluate_only(cfg)
    assert results["COCOEvaluator/bbox"]["AP"] == pytest.approx(results["bbox"]["AP"], abs=1e-6)
    assert "calibration" in results


def test_the_recipe_of_the_site_takes_our_mapper_optimizer_and_joints_by_name(tmp_path):
    """The block of docs/training.md up to its use, from weights of other joints in another order."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "training.md").read_text(encoding="utf-8"), re.DOTALL)
    (recipe,) = [block for block in blocks if "class PoseTrainer" in block]
    names = {}
    exec(recipe.split("\ncfg = ")[0], names)
    config = str(engine_toy.write_config(tmp_path))
    options = [*engine_toy.REAL, "SOLVER.OPTIMIZER", "AdamW", "SOLVER.MAX_ITER", "2", "OUTPUT_DIR", str(tmp_path)]
    cfg = load_config(config, [*options, "MODEL.WEIGHTS", str(tmp_path / "start.pth")])
    load_dataset(cfg, "toy_people")  # registers the files of the config
    start = build_model(cfg).state_dict()
    start["head.presence.bias"] = torch.tensor([1.0, 2.0, 3.0])
    torch.save({"model": start, "joints": ["right_hand", "nose", "tail"]}, tmp_path / "start.pth")
    trainer = names["PoseTrainer"](cfg)
    trainer.resume_or_load(resume=False)
    bias = trainer.checkpointer.model.head.presence.bias
    assert bias[0] == 2 and bias[2] == 1 and bias[1] != 3  # nose, right_hand; left_hand starts anew
    assert type(trainer._trainer.optimizer) is torch.optim.AdamW
    sample = next(iter(trainer.build_train_loader(cfg)))[0]
    assert sample["image"].shape == (3, 64, 64) and sample["instances"].has("gt_known")
    trainer.train()
    assert {"keypoints", "calibration"} <= trainer._last_eval_results.keys()
    again = names["PoseTrainer"](cfg)
    again.resume_or_load(resume=True)
    assert again.start_iter == 2
