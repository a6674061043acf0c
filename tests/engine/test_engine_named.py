"""Which weights run is said, and what a training made of them is named where it lies beside its config."""

import logging

import pytest
import torch
from torch import nn

from rle_onestage import cli
from rle_onestage.engine.builders import evaluate_only
from rle_onestage.engine.checkpoint.named import no_weights
from rle_onestage.engine.models import build_for_inference
from rle_onestage.engine.setup import load_config
from rle_onestage.errors import CheckpointError, ConfigError
from rle_onestage.predictor import Predictor


@pytest.fixture
def run(tmp_path):
    """A run's folder: its config with the weights that it began with, and those that it made."""
    torch.save({"model": nn.Linear(1, 1).state_dict()}, tmp_path / "start.pth")
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("model_final.pth", "model_calibrated.pth"):
        (folder / name).write_bytes((tmp_path / "start.pth").read_bytes())
    (folder / "config.yaml").write_text(f"MODEL:\n  DEVICE: cpu\n  WEIGHTS: {tmp_path}/start.pth\n")
    return folder


def said(caplog, run, opts=(), checkpoint=None, width=1):
    """What the log says of the weights: (all, warnings)."""
    cfg = load_config(str(run / "config.yaml"), opts)
    caplog.clear()
    with caplog.at_level(logging.INFO, "rle_onestage"):
        build_for_inference(cfg, checkpoint or cfg.MODEL.WEIGHTS, build_model=lambda cfg: nn.Linear(width, 1))
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    return "\n".join(caplog.messages), "\n".join(warnings)


def test_weights_that_a_run_began_with_are_never_silent(caplog, run, tmp_path):
    start, final = tmp_path / "start.pth", run / "model_final.pth"
    told, warned = said(caplog, run)
    assert f"The weights are those of {start}" in told
    assert f"by the config file {run}/config.yaml, line 3: what a training began with" in warned
    assert f"give MODEL.WEIGHTS {final}" in warned
    final.unlink()
    assert said(caplog, run)[1] == ""


@pytest.mark.parametrize("name", ["start.pth", "run/model_final.pth", "run/model_calibrated.pth"])
def test_weights_that_were_asked_for_run_without_a_warning(caplog, run, tmp_path, name):
    path = str(tmp_path / name)
    told, warned = said(caplog, run, ["MODEL.WEIGHTS", path])
    assert f"The weights are those of {path}" in told and not warned
    if name != "start.pth":  # which the config has too
        told, warned = said(caplog, run, checkpoint=path)
        assert f"The weights are those of {path}" in told and not warned


def test_weights_that_do_not_fit_name_those_of_the_run(caplog, run):
    with pytest.raises(CheckpointError, match=f"^give MODEL.WEIGHTS {run}/model_final.pth, which the training with"):
        said(caplog, run, width=2)


def test_a_run_from_random_weights_names_its_own(run):
    (run / "config.yaml").write_text('MODEL:\n  DEVICE: cpu\n  WEIGHTS: ""\n')
    cfg = load_config(str(run / "config.yaml"))
    with pytest.raises(ConfigError, match=f"e.g. MODEL.WEIGHTS {run}/model_final.pth, or Predictor's argument"):
        Predictor(cfg)
    with pytest.raises(CheckpointError, match=f"give MODEL.WEIGHTS {run}/model_final.pth, or --resume"):
        evaluate_only(cfg)
    (run / "model_final.pth").unlink()
    assert no_weights(cfg).endswith("MODEL.WEIGHTS output/run/model_final.pth")


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["MODEL.WEIGHTS", ""], "evaluation needs weights"),
        (["--resume"], "has no checkpoint for --resume"),
        (["DATASETS.TEST", "gone", "DATASETS.KEYPOINT_FILES", "[[gone, a.json, images]]"], "'gone' was not found"),
    ],
)
def test_an_evaluation_without_weights_or_data_makes_no_folder(run, tmp_path, monkeypatch, capsys, words, sentence):
    monkeypatch.setenv("DETECTRON2_DATASETS", "")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        cli.main(["evaluate", "--config-file", str(run / "config.yaml"), *words, "OUTPUT_DIR", "results"])
    said = capsys.readouterr().err
    assert end.value.code == 2 and sentence in said and not (tmp_path / "results").exists()
    assert "was not found" not in said or "(DETECTRON2_DATASETS is empty)" in said
