"""Configs and weights by name, in the manner of Detectron2's model zoo."""

import os
from pathlib import Path

import pytest
import torch
from detectron2.utils.file_io import PathManager

from rle_onestage import load_config, model_zoo
from rle_onestage.engine.checkpoint import read_checkpoint
from rle_onestage.errors import CheckpointError, ConfigError
from rle_onestage.utils import packaged_files

ROOT = Path(__file__).resolve().parents[2]
R50 = "coco/rle_onestage_R50_FPN_1x.yaml"


def test_all_configs_are_there_by_name():
    names = packaged_files.config_names()
    assert {R50, "demo.yaml", "people/people.yaml", "losses/l1.yaml"} <= set(names)
    assert len(names) == len(list((ROOT / "configs").rglob("*.yaml")))
    for name in names:
        assert os.path.isfile(model_zoo.get_config_file(name))
    # as it is written in a checkout, and by the weights' names
    assert model_zoo.get_config_file(f"configs/{R50}") == model_zoo.get_config_file(R50)
    assert model_zoo.get_config_file("people") == model_zoo.get_config_file("demo.yaml")


@pytest.mark.parametrize("name", model_zoo.MODELS)
def test_weights_come_by_name(name):
    assert os.path.isfile(PathManager.get_local_path(model_zoo.get_checkpoint_url(name)))
    cfg = model_zoo.get_config(name, trained=True)
    assert cfg.MODEL.WEIGHTS == model_zoo.get_checkpoint_url(name) == load_config(
        model_zoo.get_config_file(name)
    ).MODEL.WEIGHTS  # fmt: skip
    cfg.SEED = 7  # not frozen, as Detectron2's


def test_the_config_that_trained_the_weights_knows_them():
    assert model_zoo.get_config("people/people.yaml").MODEL.WEIGHTS == ""
    assert model_zoo.get_config("people/people.yaml", trained=True).MODEL.WEIGHTS == "rle-onestage://people.pth"


@pytest.mark.parametrize("name", model_zoo.MODELS)
def test_a_model_trains_on_and_has_the_weights(name):
    model = model_zoo.get(name, device="cpu")
    assert model.training and next(model.parameters()).device.type == "cpu"
    content = torch.load(PathManager.get_local_path(model_zoo.get_checkpoint_url(name)), weights_only=True)["model"]
    for key in ("head.offset.weight", "head.offset.bias"):
        torch.testing.assert_close(model.state_dict()[key], content[key].float())


def test_a_predictor_by_name():
    predictor = model_zoo.get_predictor("people_synthetic", device="cpu")
    assert not predictor.model.training and len(predictor.skeleton.names) == 17
    with pytest.raises(ConfigError, match="'people_synthetic.yaml' has no weights .*; give trained=True"):
        model_zoo.get_predictor("people_synthetic.yaml", device="cpu")
    with pytest.raises(ConfigError, match="1x.yaml' has no trained .*; give your own: Predictor.get_config"):
        model_zoo.get_predictor(R50, device="cpu")
    with pytest.raises(ConfigError, match="device 'gpu'"):
        model_zoo.get_predictor("people", device="gpu")


def test_nobody_is_warned_of_the_device_of_a_packaged_config(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert model_zoo.get_config("people", trained=True).MODEL.DEVICE == "cpu"
    model_zoo.get("people_synthetic", trained=True)
    assert "CUDA" not in caplog.text
    model_zoo.get("people_synthetic", device="cuda")
    assert "device is cuda, but CUDA is not available" in caplog.text  # who asks for it is told


def test_addresses_of_weights_are_corrected():
    with pytest.raises(CheckpointError, match="did you mean people.pth[?] this package comes with people.pth"):
        read_checkpoint("rle-onestage://poeple.pth")


@pytest.mark.parametrize(
    "function, name, sentence",
    [
        ("get_config_file", "peple", "'peple' is not in the model zoo; did you mean people or people_fast or "),
        ("get_config", "coco/rle_onestage_R50_FPN_1.yaml", f"did you mean {R50}"),
        ("get", "people/quickstart.yaml", "did you mean quickstart.yaml"),
        ("get_predictor", "zzz", "there are people, people_fast, people_synthetic, Base-RLEOneStage.yaml"),
        ("get_config", __file__, "is a file, where the name of a model of the zoo is due (people, people_fast, "),
        ("get_config_file", "../Makefile", "is not in the model zoo"),
        ("get_checkpoint_url", R50, "has no trained weights in the model zoo; there are people, people_fast, "),
    ],
)
def test_unknown_names_are_one_sentence(function, name, sentence):
    with pytest.raises(ConfigError) as error:
        getattr(model_zoo, function)(name)
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_names_are_looked_up_on_disk_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config("quickstart.yaml").MODEL.RLE_ONESTAGE.TIMM.NAME == "mobilenetv4_conv_small"
    (tmp_path / "own.yaml").write_text("_BASE_: configs/quickstart.yaml\nSEED: 5")
    assert load_config("own.yaml").SEED == 5 and load_config("own.yaml").DATASETS.TRAIN == ("rle_synthetic_train",)
    (tmp_path / "quickstart.yaml").write_text("SEED: 6")
    assert load_config("quickstart.yaml").SEED == 6
    with pytest.raises(ConfigError, match="does not exist; did you mean people/people.yaml .*come with the package"):
        load_config("people/peple.yaml")
    (tmp_path / "own.yaml").write_text("_BASE_: coco/rle_onestage_x_640.yaml")
    with pytest.raises(ConfigError, match="named by _BASE_ of .*own.yaml.* did you mean coco/rle_onestage_s_640.yaml"):
        load_config("own.yaml")


def test_a_link_that_git_wrote_as_text_is_explained(tmp_path, monkeypatch):
    (tmp_path / "configs").write_text("../../configs")
    monkeypatch.setattr(packaged_files, "CONFIGS", tmp_path / "configs")
    with pytest.raises(ConfigError, match="text file instead of a symbolic link.*core.symlinks true"):
        model_zoo.get_config_file("demo.yaml")
