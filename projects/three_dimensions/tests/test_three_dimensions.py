"""What the comparison measures: intervals, the same people, and densities of residuals."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from three_dimensions.measure import METRICS, density_nats, of_the_same_people, resampled

from rle_onestage.engine.setup import load_config
from rle_onestage.evaluation.space import SpaceMatches, space_metrics
from rle_onestage.modeling.density import build_density
from rle_onestage.structures.skeleton import COCO

PROJECT = Path(__file__).resolve().parents[1]


def matches(seed, people, error):
    """People of three images in turn, with Gaussian errors."""
    labels = np.random.default_rng(5).normal(0, 300, (people, 17, 3))
    labels -= labels[:, 11:13].mean(1, keepdims=True)
    noise = np.random.default_rng(seed).normal(0, error, labels.shape)
    return SpaceMatches(labels + noise, np.full(labels.shape, error), labels, np.full(people, np.nan),
                        [i % 3 for i in range(people)], people)  # fmt: skip


def test_an_interval_holds_the_metric_and_shrinks_with_the_errors():
    wide, narrow = (resampled(matches(1, 30, error), COCO.names, 200)["MPJPE"] for error in (60.0, 6.0))
    assert wide[0] < space_metrics(matches(1, 30, 60.0), COCO.names)["MPJPE"] < wide[1]
    assert narrow[1] - narrow[0] < 0.2 * (wide[1] - wide[0])


def test_the_same_people_are_those_whom_all_found():
    one, other = matches(1, 10, 50.0), matches(2, 10, 80.0)
    fewer = other.at(np.array([9, 3, 4]), 10)
    found = of_the_same_people({"a": one, "b": fewer})
    assert len(found["a"].labels) == 3 and np.array_equal(found["a"].labels, found["b"].labels)
    whole = space_metrics(one, COCO.names)["MPJPE"]
    assert space_metrics(found["a"], COCO.names)["MPJPE"] != whole


def test_a_density_of_three_dimensions_sees_what_two_and_one_cannot():
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(4000, 3, generator=generator)
    z[:, 2] = 0.8 * z[:, 0] + 0.6 * z[:, 2]
    residuals = z[:2000].numpy(), z[2000:].numpy()
    torch.manual_seed(0)
    joint = density_nats(residuals, [build_density("rle", dims=3, hidden=8)], 100)
    apart = density_nats(residuals, [build_density("rle", dims=d, hidden=8) for d in (2, 1)], 100)
    assert joint < apart - 0.1  # 0.51 nats in truth
    assert density_nats(residuals, [build_density("laplace", dims=3)], 5) > joint  # which has nothing to fit


def test_the_report_has_intervals_and_corrections():
    compare = importlib.import_module("compare_depth")
    report = {
        loss: {
            **dict.fromkeys((*METRICS, "found", "keypoint AP"), 1.0),
            "same people": {**dict.fromkeys(METRICS, 1.0), "95 %": {name: [0.5, 1.5] for name in METRICS}},
            **dict.fromkeys(("held before", "held"), {"depth": {"50": 49.0, "80": 81.0}}),
        }
        for loss in ("rle", "l1")
    }
    text = compare.tables(json.loads(json.dumps(report)))
    assert "1.0 (0.5 to 1.5)" in text and "l1, corrected" in text


def test_a_loss_that_is_none_is_a_sentence(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        importlib.import_module("compare_depth").main(["--output", str(tmp_path), "--losses", "l3"])
    assert ended.value.code == 2 and "l3.yaml" in capsys.readouterr().err


def test_a_training_of_other_options_is_not_gone_on_with(tmp_path, capsys, monkeypatch):
    compare = importlib.import_module("compare_depth")

    def trained(command, check):
        raise InterruptedError(command)  # this far and no farther

    monkeypatch.setattr(compare.subprocess, "run", trained)
    folder, config = tmp_path / "l1", compare.config_of("l1")
    folder.mkdir()
    (folder / "config.yaml").write_text(load_config(config, ["OUTPUT_DIR", str(folder), "SOLVER.MAX_ITER", "7"]).dump())
    command = ["--output", str(tmp_path), "--losses", "rle", "l1", "--opts", "SOLVER.MAX_ITER"]
    with pytest.raises(SystemExit) as ended:
        compare.main([*command, "8"])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and "l1 was trained with SOLVER.MAX_ITER 7, now it is 8; give another --output" in said
    with pytest.raises(InterruptedError, match="rle"):
        compare.main([*command, "7"])


@pytest.mark.parametrize("loss", ["rle", "laplace", "l1"])
def test_configs_differ_in_the_loss_alone(loss):
    own, base = (load_config(str(PROJECT / "configs" / f"{name}.yaml"), []).clone() for name in (loss, "rle"))
    own.defrost()
    assert own.MODEL.RLE_ONESTAGE.DEPTH.DENSITY == loss
    trained = [name for name in base.SOLVER.TRAIN_ONLY if loss == "rle" or not name.startswith("criterion.")]
    assert own.SOLVER.TRAIN_ONLY == trained  # the others have no flow that could learn
    own.MODEL.RLE_ONESTAGE.DEPTH.DENSITY, own.SOLVER.TRAIN_ONLY = "rle", base.SOLVER.TRAIN_ONLY
    own.OUTPUT_DIR = base.OUTPUT_DIR
    own.freeze()
    assert own == base and base.MODEL.RLE_ONESTAGE.DEPTH.ENABLED
