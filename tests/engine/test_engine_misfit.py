"""Weights of other joints or shapes: the sentence names both files, who named the weights, and their own config."""

import json

import pytest
import torch
from torch import nn

from rle_onestage.engine import load_config
from rle_onestage.engine.config.files import place_of
from rle_onestage.engine.models import build_for_inference
from rle_onestage.errors import CheckpointError
from rle_onestage.utils.packaged_files import CHECKPOINTS, config_of_weights


class Net(nn.Module):
    """One row a joint."""

    JOINT_ROWS = {"presence": 1}

    def __init__(self, joints=3):
        super().__init__()
        self.presence = nn.Parameter(torch.zeros(joints, 1))


@pytest.fixture
def config(tmp_path):
    """A config, its base, and a data set of the joints a, b, c."""
    category = {"id": 1, "name": "paw", "keypoints": ["a", "b", "c"], "skeleton": []}
    content = {"images": [], "annotations": [], "categories": [category]}
    (tmp_path / "paws.json").write_text(json.dumps(content))
    (tmp_path / "base.yaml").write_text(
        f"DATASETS:\n  KEYPOINT_FILES: [[misfit_paws, {tmp_path}/paws.json, {tmp_path}]]\n  TEST: [misfit_paws]\n"
        f"MODEL:\n  DEVICE: cpu\n  WEIGHTS: {tmp_path}/run/m.pth\n  RLE_ONESTAGE: {{NUM_KEYPOINTS: 3}}\n"
    )
    (tmp_path / "top.yaml").write_text("_BASE_: base.yaml\nSEED: 1\n")
    (tmp_path / "run").mkdir()
    return str(tmp_path / "top.yaml")


def refusal(cfg, weights, joints=3):
    with pytest.raises(CheckpointError) as caught:
        build_for_inference(cfg, weights, build_model=lambda cfg: Net(joints))
    return str(caught.value)


def test_the_config_that_a_training_was_started_with(config, tmp_path, caplog):
    """Not the config.yaml beside the weights that it began with: where its OUTPUT_DIR has what it made of them."""
    path, made = tmp_path / "run" / "m.pth", tmp_path / "own" / "model_final.pth"
    torch.save({"model": Net().state_dict(), "joints": ["x", "y", "z"]}, path)
    (tmp_path / "top.yaml").write_text(f"_BASE_: base.yaml\nOUTPUT_DIR: {made.parent}\n")
    assert "model_final" not in refusal(load_config(config), str(path))  # it has not been started yet
    made.parent.mkdir()
    torch.save({"model": Net().state_dict(), "joints": ["a", "b", "c"]}, made)
    said = refusal(load_config(config), str(path))
    assert said.startswith(f"give MODEL.WEIGHTS {made}, which the training with this config made")
    assert "what a training began with" in caplog.text
    caplog.clear()
    elsewhere = ["OUTPUT_DIR", str(tmp_path / "own")]
    assert "model_final" not in refusal(load_config(str(tmp_path / "base.yaml"), elsewhere), str(path)) + caplog.text


def test_other_joints(config, tmp_path):
    path = str(tmp_path / "run" / "m.pth")
    torch.save({"model": Net().state_dict(), "joints": ["x", "y", "z"]}, path)
    (tmp_path / "run" / "config.yaml").write_text("SEED: 2")
    said = refusal(load_config(config), path)
    assert said.startswith(f"use the config {tmp_path}/run/config.yaml, which belongs to these weights, or train from")
    assert f"{path} has 3 joints (x, y, z) without a, b, c of the model's 3; the model's are those of data set" in said
    assert f"'misfit_paws' ({tmp_path}/paws.json); MODEL.WEIGHTS is from the config file {tmp_path}/base.yaml" in said
    assert said.endswith("line 6 (a base of top.yaml)")
    (tmp_path / "run" / "config.yaml").unlink()
    said = refusal(load_config(config, ["MODEL.WEIGHTS", path]), path)
    assert said.startswith("use the config and data sets that it was") and said.endswith("is from the options given")


def test_what_a_config_has_trained_is_named_first(config, tmp_path):
    """A run's config.yaml has the weights that the training began with; those that it made lie beside it."""
    path = str(tmp_path / "run" / "m.pth")
    torch.save({"model": Net(40).state_dict(), "joints": [f"point_{number}" for number in range(40)]}, path)
    (tmp_path / "model_final.pth").write_bytes(b"")
    said = refusal(load_config(config), path)
    assert said.startswith(f"give MODEL.WEIGHTS {tmp_path}/model_final.pth, which the training with this config made: ")
    assert "has 40 joints (point_0, point_1, point_2 and 37 more) without a, b, c of the model's 3;" in said
    assert len(said.replace(str(tmp_path), "")) < 350


def test_other_shapes(config, tmp_path):
    path = str(tmp_path / "run" / "m.pth")
    torch.save({"model": Net(4).state_dict()}, path)
    said = refusal(load_config(config), path)
    assert "does not fit the model (other shapes: presence" in said and "paws.json" not in said
    assert "base.yaml, line 6" in said and said.startswith("use the config it was trained with (MODEL and NUM")


def test_weights_that_were_named_later_have_no_place(config):
    cfg = load_config(config).clone()
    assert place_of(cfg, "MODEL.WEIGHTS").endswith("line 6 (a base of top.yaml)") and place_of(cfg, "VERSION") is None
    cfg.defrost()
    cfg.MODEL.WEIGHTS = "other.pth"
    assert place_of(cfg, "MODEL.WEIGHTS") is None


def test_configs_of_weights(tmp_path):
    for address in ("rle-onestage://people.pth", f"{CHECKPOINTS}/people.pth"):
        assert config_of_weights(address) == "demo.yaml"
    assert config_of_weights("rle-onestage://none.pth") is None and config_of_weights("https://a/b.pth") is None
    assert config_of_weights(str(tmp_path / "m.pth")) is None
