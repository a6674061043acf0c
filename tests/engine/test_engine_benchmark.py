"""The benchmark measures what it says, and its arguments are checked."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import engine_toy
import pytest
import torch
from modeling_toys import TINY
from speed.benchmark_report import run

from rle_onestage.engine import benchmark
from rle_onestage.engine.benchmark import Benchmark, alternate
from rle_onestage.engine.setup import load_config
from rle_onestage.errors import ConfigError, PoseError

PARTS = "inference,flow,people,loader,training,evaluation"


def arguments(tmp_path, **changed):
    options = [*TINY, "SOLVER.IMS_PER_BATCH", "2", "DATASETS.TRAIN", "('rle_synthetic_train',)", "DATASETS.TEST", "()"]
    flags = {
        "config_file": "", "size": "64,96", "batch": 2, "people": "1,4", "parts": PARTS, "rounds": 1, "threads": 1,
        "output": str(tmp_path / "new" / "bench.json"), "opts": options,
    }  # fmt: skip
    return SimpleNamespace(**{**flags, **changed})


def test_a_whole_report(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "nowhere"))
    report = run(arguments(tmp_path))
    written = json.loads((tmp_path / "new" / "bench.json").read_text())
    assert written["inference"] == report["inference"] and written["size"] == [64, 96]
    assert set(report["inference"]) == {"backbone", "head", "decode", "complete"}
    flow = report["flow"]
    assert flow["equal"] and flow["gflops"]["with"] == flow["gflops"]["without"] > 0
    assert flow["parameters_M"]["without"] == pytest.approx(report["parameters_M"]["inference"])
    assert report["people"]["found"] == {1: 1, 4: 4} and report["people"]["ratio"] > 0
    assert report["people"]["complete_ratio"] > 0 and list(report["people"]["complete_ms"]) == [1, 4]
    assert report["covariances"]["ratio"] == pytest.approx(
        report["covariances"]["with_ms"] / report["covariances"]["without_ms"]
    )
    assert report["loader"] is None and report["evaluation"] is None
    training = report["training"]
    assert training["data"] == "random people" and training["residuals"] > 0
    assert 0 < training["shares"]["density"] < 1 and training["ms"]["step"] > training["ms"]["optimizer"]
    table = capsys.readouterr().out
    assert "every output the same" in table and "covariances / without" in table
    assert "flow, likelihood, normaliser" in table and "decode, 4 people" in table and "data set is not there" in table


def test_counts_by_hand():
    cfg = load_config("", TINY)
    measured = Benchmark(cfg, size=(64, 64), rounds=1)
    model = measured.model
    parameters = measured.parameters()
    flow = sum(p.numel() for p in model.criterion.density.flow.parameters())
    degrees = 17  # of freedom, of each joint
    assert parameters["all"] - parameters["inference"] == pytest.approx((flow + degrees) / 1e6)
    small, large = measured.flops()["total"], Benchmark(cfg, size=(128, 128), rounds=1).flops()["total"]
    assert 2 < large / small < 4.1  # the candidates' share does not grow with the image
    assert not model.training


@torch.no_grad()
def test_covariances_are_left_out_of_one_case():
    measured = Benchmark(load_config("", TINY), size=(64, 64), rounds=1)
    image = torch.zeros(1, 3, 64, 64)
    dense = measured.crowd(4, measured.model.backbone(image))
    found = [measured._with_network(dense, image, covariances=flag)[0] for flag in (True, False)]
    assert [each.has("pred_keypoint_covariances") for each in found] == [True, False]
    assert torch.equal(found[0].pred_keypoint_sigmas, found[1].pred_keypoint_sigmas)


def test_measuring_leaves_the_weights_alone():
    measured = Benchmark(load_config("", [*TINY, "SOLVER.IMS_PER_BATCH", "2"]), size=(64, 64), rounds=1)
    before = {name: p.detach().clone() for name, p in measured.model.named_parameters()}
    measured.training(1)
    assert all(torch.equal(before[name], p) for name, p in measured.model.named_parameters())


def test_an_architecture_without_the_parts_is_named(tmp_path):
    config = str(engine_toy.write_config(tmp_path))
    with pytest.raises(ConfigError, match="ToyPose cannot be measured"):
        Benchmark(load_config(config), size=(64, 64))
    assert Benchmark(load_config(config, engine_toy.REAL), size=(64, 64), rounds=1).parameters()["all"] > 0


def test_cases_take_turns(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: next(clock))
    calls = []
    times = alternate({"a": lambda: calls.append("a"), "b": lambda: (calls.append("b"), next(clock))}, 3, warmup=1)
    assert calls == ["a", "b"] * 4 and times == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    "changed, word",
    [
        ({"people": "1,x"}, "--people"),
        ({"people": "0"}, "--people"),
        ({"people": "5000", "parts": "people"}, "5000"),
        ({"parts": "speed"}, "--parts"),
        ({"size": "1,2,3"}, "--size"),
        ({"batch": 0}, "--batch"),
        ({"output": "/proc/nowhere/x.json", "parts": ""}, "--output"),
    ],
)
def test_bad_arguments_are_named(tmp_path, changed, word):
    with pytest.raises(PoseError) as caught:
        run(arguments(tmp_path, **changed))
    assert word in str(caught.value)


def test_the_tool_ends_with_a_sentence(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "projects" / "speed"))
    import benchmark as tool

    monkeypatch.setattr(sys, "argv", ["benchmark.py", "--config-file", "nowhere.yaml"])
    with pytest.raises(SystemExit) as caught:
        tool.main()
    assert caught.value.code == 2 and "nowhere.yaml" in capsys.readouterr().err
