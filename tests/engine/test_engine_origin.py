"""What checkpoints say of where their weights come from, over trainings, slim files and exports."""

import logging
import shutil

import engine_toy
import pytest
import torch
from detectron2.utils.file_io import PathManager
from engine_toy import write_config
from torch import nn

from rle_onestage.engine import Trainer, load_config
from rle_onestage.engine.checkpoint import read_checkpoint, slim
from rle_onestage.engine.checkpoint.origin import origin_of_start, recorded_origin
from rle_onestage.modeling import mark_filled

PEOPLE = "rle-onestage://people.pth"


@pytest.fixture
def said(monkeypatch):
    """Messages of the package from here on."""
    lines = []
    listener = logging.Handler(logging.INFO)
    listener.emit = lambda record: lines.append(record.getMessage())
    monkeypatch.setattr(logging.getLogger("rle_onestage"), "handlers", [listener])
    logging.getLogger("rle_onestage").setLevel(logging.INFO)
    return lines


def trained(config, *options, resume=False):
    """The path of what a short training of the toy makes."""
    cfg = load_config(str(config), ["DATASETS.TEST", "()", "SOLVER.MAX_ITER", "2", *options])
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=resume)
    trainer.train()
    return f"{cfg.OUTPUT_DIR}/model_final.pth"


def stated(path, origin):
    """A file of the toy's weights with an origin."""
    weights = engine_toy.ToyPose(load_config(str(write_config(path.parent)))).state_dict()
    torch.save({"model": weights, "origin": origin}, path)
    return str(path)


def test_the_origin_stays_over_trainings_and_slim_files(tmp_path, said):
    """What a chain of trainings began with is named at its end, and its licence is said at each start."""
    config = write_config(tmp_path)
    first = trained(config, "MODEL.WEIGHTS", stated(tmp_path / "own.pth", [PEOPLE]))
    assert torch.load(first, weights_only=True)["origin"] == [PEOPLE]
    small = tmp_path / "small.pth"
    torch.save(slim(read_checkpoint(first)), small)
    second = trained(config, "MODEL.WEIGHTS", str(small), "OUTPUT_DIR", str(tmp_path / "b"))
    assert torch.load(second, weights_only=True)["origin"] == [PEOPLE]
    told = [line for line in said if "licence" in line]
    assert told == [f"This training starts from {PEOPLE}, whose licence goes with what it makes: For research only"] * 2
    again = trained(config, "OUTPUT_DIR", str(tmp_path / "b"), "SOLVER.MAX_ITER", "3", resume=True)
    assert torch.load(again, weights_only=True)["origin"] == [PEOPLE]


def test_a_training_from_random_weights_says_so(tmp_path, said):
    first = trained(write_config(tmp_path))
    assert torch.load(first, weights_only=True)["origin"] == [] and not [line for line in said if "licence" in line]


def test_weights_of_others_are_named_without_folder_and_secrets(tmp_path):
    cfg = load_config(str(write_config(tmp_path))).clone()
    cfg.defrost()
    for address, name in (
        (f"{tmp_path}/theirs.pth", "theirs.pth"),
        ("https://me:secret@example.org/a/b.pth?token=secret", "https://example.org/a/b.pth"),
        ("detectron2://ImageNetPretrained/MSRA/R-50.pkl", "detectron2://ImageNetPretrained/MSRA/R-50.pkl"),
    ):
        cfg.MODEL.WEIGHTS = address
        assert origin_of_start(nn.Linear(1, 1), cfg, {"model": {}}, []) == [name]


def test_a_copy_of_shipped_weights_is_known(tmp_path):
    copy = shutil.copy(PathManager.get_local_path(PEOPLE), str(tmp_path / "mine.pth"))
    assert recorded_origin(read_checkpoint(copy)) == [PEOPLE]


def test_files_of_an_earlier_version_are_known_by_their_training(tmp_path):
    """Whose config.yaml lies beside them; a damaged one tells nothing, and other files are not of the training."""
    for name in ("model_final.pth", "other.pth"):
        torch.save({"model": {"weight": torch.zeros(3)}}, tmp_path / name)
    final, other = (str(tmp_path / name) for name in ("model_final.pth", "other.pth"))
    assert "origin" not in read_checkpoint(final)
    (tmp_path / "config.yaml").write_text(f"MODEL:\n  WEIGHTS: {PEOPLE}\n")
    assert read_checkpoint(final)["origin"] == [PEOPLE] and "origin" not in read_checkpoint(other)
    (tmp_path / "config.yaml").write_text("MODEL: [")
    assert "origin" not in read_checkpoint(final)


@pytest.mark.parametrize("value", ["text", [1], ["two\nlines"], ["x" * 301], ["a"] * 101, {"a": 1}])
def test_what_is_no_list_of_names_is_not_believed(value):
    assert recorded_origin({"origin": value}) is None


def test_what_fills_a_trunk_is_named_unless_it_was_replaced(tmp_path):
    """MoveNet's weights, by the name of their package or file."""
    options = ["MODEL.BACKBONE.NAME", "build_movenet_backbone", "INPUT.FORMAT", "RGB"]
    cfg = load_config(str(write_config(tmp_path)), [*options, "MODEL.RLE_ONESTAGE.MOVENET.PRETRAINED", "a/movenet.pth"])
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert origin_of_start(model, cfg, None, []) == []
    mark_filled(model[1])
    assert origin_of_start(model, cfg, None, []) == ["movenet.pth"]
    assert origin_of_start(model, cfg, {"origin": [PEOPLE]}, ["1.weight"]) == [PEOPLE, "movenet.pth"]
    assert origin_of_start(model, cfg, {"origin": [PEOPLE]}, ["1.weight", "1.bias"]) == [PEOPLE]
