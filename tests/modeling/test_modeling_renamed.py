"""Weights of earlier versions by their earlier names."""

import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.modeling import build_model
from modeling_toys import tiny_config, with_earlier_names

from rle_onestage.engine.checkpoint import load_weights, read_checkpoint
from rle_onestage.errors import CheckpointError
from rle_onestage.modeling.renamed import RENAMED_WEIGHTS, rename_weights


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = build_model(tiny_config())
    model.criterion.area_sums.copy_(torch.tensor([3e5, 1e6]))
    return model


LOADERS = {
    "ours": lambda model, path: load_weights(model, path, strict=True),
    "detectron2": lambda model, path: DetectionCheckpointer(model).load(path),
    "torch": lambda model, path: model.load_state_dict(torch.load(path, weights_only=True)["model"]),
}


@pytest.mark.parametrize("how", LOADERS)
def test_a_file_with_earlier_names_loads(model, tmp_path, how):
    state, path = model.state_dict(), str(tmp_path / "old.pth")
    old = with_earlier_names(state)
    assert not any(name.startswith(tuple(RENAMED_WEIGHTS.values())) for name in old)
    torch.save({"model": old}, path)
    torch.manual_seed(1)
    other = build_model(tiny_config())
    LOADERS[how](other, path)
    loaded = other.state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(value, loaded[name]) for name, value in state.items())


def test_the_log_names_the_new_key_once(model, tmp_path, caplog):
    path = str(tmp_path / "old.pth")
    old = with_earlier_names(model.state_dict())
    torch.save({"model": old, "raw": old}, path)
    with caplog.at_level("INFO", "rle_onestage"):
        read_checkpoint(path)
    (line,) = [record.getMessage() for record in caplog.records if "earlier version" in record.getMessage()]
    for before, now in RENAMED_WEIGHTS.items():
        assert f"{before.rstrip('.')} is {now.rstrip('.')} now" in line


def test_a_weight_under_both_names_is_one_sentence(model, tmp_path):
    path = str(tmp_path / "both.pth")
    torch.save({"model": {**with_earlier_names(model.state_dict()), **model.state_dict()}}, path)
    with pytest.raises(CheckpointError, match="both.pth: .* keep one of them"):
        read_checkpoint(path)


def test_names_of_today_stay(model):
    state = dict(model.state_dict())
    before = list(state)
    assert rename_weights(state) == {} and list(state) == before
