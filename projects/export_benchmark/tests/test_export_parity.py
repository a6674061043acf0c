"""The studies of exported files: images of all sizes, equal and unequal files, runs that go on, memory and start."""

import json

import memory
import numpy as np
import parity
import pytest
import start
from export_benchmark import comparison
from export_benchmark.models import UNTRAINED, from_config
from export_benchmark.photographs import LARGEST, SMALLEST, mixed_sizes
from export_benchmark.processes import cost_of
from export_toys import SIDE, SIZE, photo, toy
from exported_people import exported

from rle_onestage.errors import MediaError

COUNT = ["--count", "3"]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr("export_benchmark.photographs.LARGEST", (90, 128))


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """The flags of a toy with weights."""
    folder = tmp_path_factory.mktemp("toy")
    cfg = toy(folder, "fcos")
    (folder / "config.yaml").write_text(cfg.dump())
    return ["--config", "toy", str(folder / "config.yaml"), cfg.MODEL.WEIGHTS]


def test_images_have_all_sizes():
    files = [photo(100, 150, seed) for seed in range(3)]
    images = mixed_sizes(files, 20, 0)
    sizes = np.array([image.shape[:2] for image in images])
    assert tuple(sizes[0]) == SMALLEST and (sizes >= SMALLEST).all() and (sizes <= LARGEST).all()
    assert len({tuple(size) for size in sizes.tolist()}) > 15
    assert all((one == other).all() for one, other in zip(images, mixed_sizes(files, 20, 0)))
    assert any(one.shape != other.shape for one, other in zip(images, mixed_sizes(files, 20, 1)))


def test_a_run_goes_on_where_it_stopped(given, tmp_path, monkeypatch, capsys):
    output = tmp_path / "out"
    parity.main([*given, *COUNT, "--output", str(output), "--formats", "torchscript"])
    first = json.loads((output / "parity.json").read_text())["parity"]["toy"]["torchscript"]
    assert first["images"] == 3 and first["compared"]["joints"] > 0 and first["faults"] == []
    assert not any(first["beyond"].values()) and first["largest"]["joints"] < 0.05
    parity.main([*given, *COUNT, "--output", str(output), "--formats", "torchscript", "--again", "toy"])
    again = json.loads((output / "parity.json").read_text())["parity"]["toy"][comparison.AGAIN]
    assert 0 < again["largest"]["joints"] < 0.05 and again["people_differing"] == 0
    monkeypatch.setattr(comparison, "pytorch", lambda *_: pytest.fail("PyTorch was asked again"))
    asked = []
    monkeypatch.setattr(parity, "compare_format", lambda reference, name: asked.append(name) or first)
    parity.main([*given, *COUNT, "--output", str(output), "--formats", "torchscript", "onnx"])
    assert asked == ["onnx"] and "| toy     | onnx " in (output / "parity.md").read_text()
    capsys.readouterr()
    with pytest.raises(SystemExit):
        parity.main([*given, "--count", "4", "--output", str(output), "--formats", "torchscript"])
    assert "has a report on other images or models" in capsys.readouterr().err


def test_what_differs_is_counted(given, tmp_path, monkeypatch):
    run = comparison.Given.__call__

    def off(self, image):
        return [
            (seen, {**found, "keypoints": found["keypoints"] + np.float32(0.3)}) for seen, found in run(self, image)
        ]

    monkeypatch.setattr(comparison.Given, "__call__", off)
    parity.main([*given, *COUNT, "--output", str(tmp_path), "--formats", "torchscript"])
    found = json.loads((tmp_path / "parity.json").read_text())["parity"]["toy"]["torchscript"]
    assert found["beyond"]["joints"] == found["compared"]["joints"] and found["far"]["joints"] == 0
    assert found["largest"]["joints"] == pytest.approx(0.3, abs=0.05) and found["faults"]


def test_an_untrained_model_speaks(tmp_path):
    options = ["MODEL.RLE_ONESTAGE.REFINE.STEPS", "0", *map(str, SIZE)]
    model = from_config("untrained", "configs/coco/rle_onestage_n_640.yaml", UNTRAINED, options, str(tmp_path))
    again = from_config("untrained", "configs/coco/rle_onestage_n_640.yaml", UNTRAINED, options, str(tmp_path))
    assert model.digest == again.digest
    reference = comparison.Reference(model, [photo(SIDE, SIDE)], str(tmp_path / "kept.npz"))
    scores = reference(reference.images[0], True)["scores"]
    assert len(reference(reference.images[0], False)["scores"]) > 3 and len(np.unique(scores.round(4))) > 20  # of 30
    kept = comparison.Reference(model, reference.images, str(tmp_path / "kept.npz"))
    assert (kept(reference.images[0], True)["scores"] == scores).all()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "give models with --model or --config"),
        (["--config", "a", "b.yaml"], "--config a b.yaml is not whole"),
        (["--model", "people", "--dataset", "peple", "coco_val"], "peple is none of the models; choose among people"),
        (["--model", "people", "--formats", "tflite"], "tflite"),
    ],
)
def test_what_cannot_be_is_one_sentence(words, sentence, tmp_path, capsys):
    with pytest.raises(SystemExit):
        parity.main([*words, "--output", str(tmp_path)])
    assert sentence in capsys.readouterr().err.splitlines()[-1]


def test_memory_is_told_after_some_images(tmp_path, capsys):
    given = ["--file", str(exported()), "--count", "11", "--side", "64", "96"]
    memory.main([*given, "--output", str(tmp_path / "memory.json")])
    found = json.loads((tmp_path / "memory.json").read_text())["megabytes"]
    assert list(found) == ["0", "1", "10", "11"] and all(50 < each < 20_000 for each in found.values())
    assert "11 images:" in capsys.readouterr().out


def test_both_programs_find_the_same_people(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(start, "PYTORCH", start.ALONE)  # the other one takes seconds to import
    start.main(["--file", str(exported()), "--model", str(exported()), "--rounds", "1"])
    assert "ONNX Runtime alone" in capsys.readouterr().out
    monkeypatch.setattr(start, "PYTORCH", "print(99)")
    with pytest.raises(SystemExit):
        start.main(["--file", str(exported()), "--rounds", "1"])
    assert "find different numbers of people" in capsys.readouterr().err


def test_a_program_that_fails_is_said():
    with pytest.raises(MediaError, match="ended with 1 .ValueError: no.; run it by itself"):
        cost_of(["python3", "-c", "raise ValueError('no')"])
