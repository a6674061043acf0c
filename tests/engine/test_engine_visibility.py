"""Weights with the part that tells hidden joints from visible ones, and without it."""

import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.modeling import build_model
from modeling_toys import make_input, tiny_config

from rle_onestage.engine import load_weights, read_checkpoint
from rle_onestage.engine.checkpoint.weights import apply_weights
from rle_onestage.engine.models import build_for_inference
from rle_onestage.errors import CheckpointError

KEY = "MODEL.RLE_ONESTAGE.HEAD.VISIBILITY"


def make_model(on):
    torch.manual_seed(0)
    return build_model(tiny_config(KEY, on, "MODEL.RLE_ONESTAGE.TEST.SCORE_THRESH", 0.0))


@pytest.fixture
def said(caplog):
    caplog.set_level("INFO", "rle_onestage")
    return lambda: [record.getMessage() for record in caplog.records]


def saved(model, path):
    torch.save({"model": model.state_dict()}, path)
    return str(path)


@torch.no_grad()
def fields_of(model):
    people = model.eval()([make_input(0, [])])[0]["instances"]
    assert len(people)
    return {name: getattr(value, "tensor", value) for name, value in people.get_fields().items()}


@pytest.mark.parametrize("load", ["ours", "stock"])
def test_weights_without_the_part_give_the_same_people_and_no_opinion(tmp_path, said, load):
    plain = make_model(False)
    path, model = saved(plain, tmp_path / "m.pth"), make_model(True)
    if load == "ours":
        load_weights(model, path, strict=True)
        assert said() == [
            f"Checkpoint {path} does not have head.visibility.* (3), refiner.refinement.* (2): done without"
        ]
    else:
        DetectionCheckpointer(model).load(path)
    before, after = fields_of(plain), fields_of(model)
    assert before.keys() == after.keys() and "pred_keypoint_visibility" not in after
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_config_may_turn_the_part_off(tmp_path, said):
    source, model = make_model(True), make_model(False)
    source.head.visibility.taught.fill_(1)
    load_weights(model, saved(source, tmp_path / "m.pth"), strict=True)
    assert "Not used from" in said()[0] and "head.visibility" in said()[0]
    before, after = fields_of(source), fields_of(model)
    assert before.keys() - after.keys() == {"pred_keypoint_visibility"}
    assert all(torch.equal(before[name], after[name]) for name in after)


@pytest.mark.parametrize("hidden", [0.5, 0.0])
def test_a_correction_by_what_the_config_turns_off_is_told(tmp_path, said, hidden):
    source = make_model(True)
    source.head.visibility.taught.fill_(1)
    source.eval().decoder.dependence[-1] = hidden
    path = saved(source, tmp_path / "m.pth")
    for on in (True, False):
        build_for_inference(tiny_config(KEY, on), path)
        assert any("which this model does not tell" in line for line in said()) == (hidden > 0 and not on)


@pytest.mark.parametrize("on", [True, False])
def test_a_training_that_goes_on_has_the_parts_that_it_began_with(tmp_path, on):
    content = read_checkpoint(saved(make_model(not on), tmp_path / "m.pth"))
    with pytest.raises(CheckpointError, match="head.visibility.logit.weight"):
        apply_weights(make_model(on), content, "m.pth", strict=True, resume=True)


def test_half_of_the_part_is_damage(tmp_path):
    source = make_model(True)
    weights = source.state_dict()
    del weights["head.visibility.logit.bias"]
    torch.save({"model": weights}, tmp_path / "m.pth")
    with pytest.raises(CheckpointError, match="head.visibility.logit.bias"):
        load_weights(make_model(True), str(tmp_path / "m.pth"), strict=True)


def test_a_training_starts_the_part_anew_and_says_so_in_a_line(tmp_path, said):
    path, model = saved(make_model(False), tmp_path / "m.pth"), make_model(True)
    fresh = model.head.visibility.logit.weight.clone()
    load_weights(model, path, strict=False)
    assert torch.equal(model.head.visibility.logit.weight, fresh)
    assert [line for line in said() if "visibility" in line] == [
        "Start anew because the file does not have them: head.visibility.* (3), refiner.refinement.* (2)"
    ]
