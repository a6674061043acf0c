"""What a comparison of exported files says, and what is refused in one sentence, without a model."""

import numpy as np
import pytest

from rle_onestage import cli
from rle_onestage.errors import MediaError
from rle_onestage.export import load
from rle_onestage.export.exporting import derived
from rle_onestage.export.parity import EXACT, HALF, INT8, NotEqualError, Parity, check

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def test_nothing_that_was_compared_is_no_equality():
    none = np.zeros(0)
    parity = Parity(1, none, none, none, 0, 0)
    assert parity.faults == ["no joint could be compared"] and "100" not in str(parity)


@pytest.mark.parametrize("name, sentence", [("sigmas", "sigmas differ by up to 0.5"), ("scores", "scores differ by")])
def test_one_of_many_thousands_is_enough(name, sentence):
    parts = {part: np.zeros(10_000) for part in ("joints", "sigmas", "scores")}
    parity = Parity(1, **parts, lost=0, found=5_000)
    assert not parity.faults
    parts[name][7] = 0.5
    assert len(parity.faults) == 1 and parity.faults[0].startswith(sentence)
    assert parity._replace(limits=HALF).faults == []


def test_no_person_may_be_lost():
    parity = Parity(1, np.zeros(9), np.zeros(9), np.zeros(9), lost=1, found=5_000)
    assert len(parity.faults) == 1 and "people are not in both" in parity.faults[0]
    assert not parity._replace(limits=HALF).faults


@pytest.mark.parametrize(
    ("limits", "beginning", "remedy"),
    [
        (EXACT, "as PyTorch on", "export another format, or report it"),
        (HALF, "compared with PyTorch on", "leave out --half"),
        (INT8, "compared with PyTorch on", "calibrate on more images, or leave out --int8"),
    ],
)
def test_what_differs_by_choice_is_not_called_equal(limits, beginning, remedy):
    parity = Parity(1, np.full(9, 1234.0), np.full(9, 1.84), np.zeros(9), lost=0, found=9, limits=limits)
    assert str(parity).startswith(beginning) and "all within 1200 px, sigmas within 180 %, scores" in str(parity)
    with pytest.raises(NotEqualError, match=f"by up to 1.23e.03 px, and 100 % by more than .*; {remedy}$"):
        check(parity, "x.onnx")


@pytest.mark.parametrize("shape", [(1, 1), (2, 7), (480, 640), (1000, 3000)])
def test_derived_images_have_other_shapes(shape):
    made = derived(np.zeros((*shape, 3), np.uint8))
    assert made[0].shape == (shape[1], shape[0], 3) and all(side % 2 for side in made[1].shape[:2])
    assert len(made) == 2 + (max(shape) < 1500) and max(made[-1].shape) <= 3000 * (len(made) < 3) + 1500


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--output", "x.onnx", "--format", "tflite"], "--format is 'tflite'"),
        (
            ["--output", "x.onnx", "--format", "openvino"],
            "x.onnx does not end in .xml; give such a name with --output, or --format onnx",
        ),
        (
            ["--output", "x.xml", "--format", "onnx"],
            "x.xml does not end in .onnx; give such a name with --output, or --format openvino",
        ),
        (["--output", "x.pt", "--half"], "--half is not for the format torchscript"),  # by its ending
        (["--output", "x.pte"], "executorch"),
        (["--output", "x"], "x does not end in .onnx; give such a name with --output"),
        (["--output", "gone/x.onnx"], "gone/x.onnx cannot be written"),
        (["--output", "x.onnx", "--int8"], "--int8 needs images to calibrate on"),
        (["--output", "x.onnx", "--calibration", "a.jpg"], "--calibration is for --int8"),
        (["--output", "x.onnx", "--int8", "--calibration", "empty"], "empty"),
        (["--output", "x.onnx", "--size", "100", "96"], "must be multiples of 32; give --size 128 96"),
        (["--output", "x.onnx", "--static"], "--static needs the size of the images"),
        (["--output", "x.pt", "--format", "torchscript", "--half"], "--half is not for the format torchscript"),
        (["--output", "x.onnx", "MODEL.META_ARCHITECTURE", "GeneralizedRCNN"], "cannot be exported"),
        (["--output", "x.onnx", "--dataset", "coco_vall"], "there is no data set 'coco_vall'"),
        ([], "name a file with --output"),
    ],
)
def test_what_cannot_be_is_one_sentence(words, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.jpg").touch()
    with pytest.raises(SystemExit) as left:
        cli.main(["export", "--model", "people_synthetic", *words])
    error = capsys.readouterr().err.strip()
    assert left.value.code == 2 and sentence in error.splitlines()[-1], error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "empty"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("foo", "choose among people, people_fast, people_synthetic, or give --config-file"),
        ("peple", "did you mean people"),
        ("coco/rle_onestage_n_640.yaml", "has no trained weights in the model zoo"),
    ],
)
def test_a_name_of_no_model_is_one_short_sentence(name, sentence, tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.main(["export", "--model", name, "--output", str(tmp_path / "x.onnx")])
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert sentence in error and len(error) < 250


@pytest.mark.parametrize("content, name", [(b"no model", "a.onnx"), (b"no model", "a.pt"), (b"", "a.txt")])
def test_what_is_no_exported_file_is_one_sentence(content, name, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MediaError, match=name):
        load(str(tmp_path / name))
    with pytest.raises(MediaError, match="does not exist"):
        load(str(tmp_path / "gone.onnx"))
