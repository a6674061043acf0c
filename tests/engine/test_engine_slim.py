"""Small files for inference: what is in them, in which precision, and that they give the same people."""

import os
import runpy

import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.modeling import build_model
from modeling_toys import make_input, tiny_config

from rle_onestage.cli.slim import main as slim_command
from rle_onestage.engine.checkpoint import SMALL, load_weights, read_checkpoint, slim
from rle_onestage.engine.models import build_for_inference

# Wide enough that there are weights worth halving.
OPTIONS = ["MODEL.RLE_ONESTAGE.HEAD.CHANNELS", "64", "MODEL.RLE_ONESTAGE.HEAD.EMBEDDING", "64"]
OPTIONS += ["MODEL.RLE_ONESTAGE.TEST.SCORE_THRESH", "0.0"]


@pytest.fixture(scope="module")
def full():
    """What a checkpoint of a calibrated model holds."""
    torch.manual_seed(0)
    model = build_model(tiny_config(*OPTIONS))
    levels = torch.rand_like(model.decoder.intervals)
    model.decoder.set_correction(torch.linspace(-0.2, 0.3, 17), torch.linspace(0.9, 1.1, 17), levels)
    return {"model": model.state_dict(), "iteration": 7}


@pytest.fixture
def files(tmp_path, full):
    """The full file, and the half one that the tool made of it."""
    paths = [str(tmp_path / name) for name in ("full.pth", "half.pth")]
    torch.save(full, paths[0])
    tool = os.path.join(os.path.dirname(__file__), "..", "..", "tools", "slim_checkpoint.py")
    runpy.run_path(tool)["main"]([paths[0], "--output", paths[1], "--half"])
    return paths


def test_what_is_needed_is_not_replaced(full, tmp_path, capsys):
    """The input, also through a link, and the checkpoint that a training goes on from."""
    names = ("model_final.pth", "model_best.pth", "small.pth", "linked.pth")
    final, best, small, linked = (str(tmp_path / name) for name in names)
    for path in (final, best, small):
        torch.save(full, path)
    os.symlink(final, linked)
    (tmp_path / "last_checkpoint").write_text("model_final.pth")
    before = (tmp_path / "model_final.pth").read_bytes()
    for source, output, words in (
        (final, final, "is the input"), (final, linked, "is the input"), (best, final, "--resume goes on from"),
    ):  # fmt: skip
        with pytest.raises(SystemExit):
            slim_command([source, "--output", output])
        assert words in capsys.readouterr().err
    assert (tmp_path / "model_final.pth").read_bytes() == before
    slim_command([final, "--output", small])
    assert os.path.getsize(small) < os.path.getsize(final)


def test_only_large_weights_are_halved(full):
    half = slim(full, half=True)["model"]
    assert {value.dtype for key, value in half.items() if key.startswith("decoder.")} == {torch.float32}
    halved = {key for key, value in half.items() if value.dtype == torch.float16}
    assert all(full["model"][key].dim() >= 2 and full["model"][key].numel() >= SMALL for key in halved)
    large = {
        key for key, value in half.items()
        if value.dim() >= 2 and value.numel() >= SMALL and not key.startswith("decoder.")
    }  # fmt: skip
    assert halved == large and {"head.offset.weight", "head.pose_tower.0.0.weight"} <= halved
    assert all(torch.equal(value, full["model"][key]) for key, value in half.items() if key not in halved)
    assert not any(key.startswith("criterion.") for key in half)


def test_what_float16_cannot_hold_stays(full):
    weights = {**full["model"], "head.offset.weight": torch.full_like(full["model"]["head.offset.weight"], 1e5)}
    assert slim({"model": weights}, half=True)["model"]["head.offset.weight"].dtype == torch.float32


def test_a_model_computes_in_its_own_precision(files):
    """Whoever loads: evaluation, a training that starts from the file, Detectron2."""
    cfg = tiny_config(*OPTIONS)
    for load in (
        lambda model, path: load_weights(model, path, strict=False),
        lambda model, path: DetectionCheckpointer(model).load(path),
    ):
        model = build_model(cfg)
        load(model, files[1])
        expected = {key: value.dtype for key, value in build_model(cfg).state_dict().items()}
        assert {key: value.dtype for key, value in model.state_dict().items()} == expected
        stored = read_checkpoint(files[1])["model"]["head.offset.weight"]
        assert stored.dtype == torch.float16 and torch.equal(model.head.offset.weight, stored.float())


@torch.no_grad()
def test_half_files_give_the_same_people(files):
    """Every candidate: joints within a hundredth of a sigma, scores and sigmas within two thousandths."""
    people = []
    for path in files:
        model = build_for_inference(tiny_config(*OPTIONS), path)
        images = model.preprocess_image([make_input(0, []), make_input(1, [])])
        people.append(model.decode(model.backbone(images.tensor)))
    full, half = people
    assert full.scores.shape == half.scores.shape
    # Near ties may be in another order: compare each candidate with its nearest.
    nearest = torch.cdist(full.boxes, half.boxes).argmin(2)
    for name, tolerance in (("scores", 2e-3), ("sigmas", 2e-3), ("areas", 5e-3), ("presence", 2e-3)):
        before, after = getattr(full, name), getattr(half, name)
        after = torch.stack([row[index] for row, index in zip(after, nearest)])
        assert ((after - before).abs() <= tolerance * before.abs()).all(), name
    moved = torch.stack([row[index] for row, index in zip(half.joints, nearest)])[..., :2] - full.joints[..., :2]
    assert (moved.abs() / full.sigmas).max() < 0.01


def test_a_correction_stays(files, full):
    model = build_for_inference(tiny_config(*OPTIONS), files[1])
    assert torch.equal(model.decoder.correction, full["model"]["decoder.correction"])
    assert torch.equal(model.decoder.intervals, full["model"]["decoder.intervals"])
