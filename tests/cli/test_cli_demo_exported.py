"""rle-onestage demo with an exported file: the same as with the config and weights that it was made of."""

import itertools
import json

import cv2
import numpy as np
import pytest
from exported_people import ROOT, exported, predictor

from rle_onestage.cli.demo import main
from rle_onestage.cli.export import main as export_main
from rle_onestage.evaluation import read_tracks
from rle_onestage.export import FORMATS
from rle_onestage.video.io import VideoReader, VideoWriter


@pytest.fixture
def clip(tmp_path):
    """The first frames of the example, whose two people walk past each other."""
    path = str(tmp_path / "clip.mp4")
    with VideoReader(str(ROOT / "datasets" / "examples" / "handover.mp4")) as video:
        with VideoWriter(path, video.fps) as shorter:
            for frame in itertools.islice(video, 6):
                shorter.write(frame.image)
    return path


def test_the_tracks_of_a_video_are_those_of_pytorch(clip, tmp_path, monkeypatch):
    arguments = ["--video-input", clip, "--track", "--json"]
    assert main([*arguments, str(tmp_path / "file.jsonl"), "--model", str(exported()), "--threads", "2"]) == 0
    monkeypatch.setattr("rle_onestage.predictor.Predictor", lambda cfg, precision: predictor())
    assert main([*arguments, str(tmp_path / "torch.jsonl")]) == 0
    file, torch = (read_tracks(tmp_path / f"{name}.jsonl") for name in ("file", "torch"))
    assert torch.frames == 6 and len(set(torch.track_id.tolist())) == 2
    assert file.frame.tolist() == torch.frame.tolist() and file.track_id.tolist() == torch.track_id.tolist()
    assert np.abs(file.keypoints[..., :2] - torch.keypoints[..., :2]).max() < 0.5
    for key in ("keypoints", "half_widths"):
        assert np.array_equal(file.header[key], torch.header[key])


def test_images_are_drawn_and_written(tmp_path):
    image = str(ROOT / "datasets" / "examples" / "office.jpg")
    given = ["--model", str(exported()), "--input", image, "--output", str(tmp_path / "out"), "--draw-sigma"]
    assert main([*given, "--json", str(tmp_path / "people.json")]) == 0
    people = json.loads((tmp_path / "people.json").read_text())
    assert people and all(len(each["keypoints"]) == 51 for each in people)
    assert "half_widths" in json.loads((tmp_path / "people_joints.json").read_text())
    assert (cv2.imread(str(tmp_path / "out" / "office.jpg")) != cv2.imread(image)).any()


def test_a_module_of_ones_own_brings_a_format(tmp_path, monkeypatch, capsys):
    (tmp_path / "my_formats.py").write_text(
        "from rle_onestage.export import FORMATS\n"
        "@FORMATS.register(name='mine')\n"
        "class Mine(FORMATS.get('onnx')):\n"
        "    ending = '.mine'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    model = tmp_path / "people.mine"
    model.write_bytes(exported().read_bytes())
    image = str(ROOT / "datasets" / "examples" / "office.jpg")
    given = ["--model", str(model), "--import", "my_formats", "--input", image]
    wanted = ["--format", "mine", "--output", "x.mine", "--dataset", "nosuch"]
    try:
        with pytest.raises(SystemExit):
            export_main(["--model", "people", "--import", "my_formats", *wanted])
        assert "there is no data set 'nosuch'" in capsys.readouterr().err.splitlines()[-1]
        assert main([*given, "--json", str(tmp_path / "people.json")]) == 0
    finally:
        FORMATS._obj_map.pop("mine", None)
    assert json.loads((tmp_path / "people.json").read_text())


WRONG = [
    (["--config-file", "my.yaml"], "--config-file my.yaml cannot change"),
    (["--opts", "MODEL.WEIGHTS", "model_final.pth"], "MODEL.WEIGHTS cannot change"),
    (["--import", "my_parts"], "names the module my_parts, which cannot be found"),
    (["--precision", "float16"], "--precision float16 cannot change"),
    (["--providers", "MagicExecutionProvider"], "no execution provider MagicExecutionProvider; choose among"),
]


@pytest.mark.parametrize(("flags", "sentence"), WRONG, ids=lambda value: value[0] if isinstance(value, list) else "")
def test_what_a_file_cannot_go_with_is_said(flags, sentence, tmp_path, capsys):
    image = str(ROOT / "datasets" / "examples" / "office.jpg")
    with pytest.raises(SystemExit):
        main(["--model", str(exported()), "--input", image, "--json", str(tmp_path / "x.json"), *flags])
    assert sentence in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--threads", "2"], "--threads is for exported files"),
        (["--providers", "CPUExecutionProvider"], "--providers is for exported files"),
        (["--model", "peple.onnx"], "exported file peple.onnx does not exist; did you mean people.onnx"),
        (
            ["--model", "peple"],
            "exported file peple does not exist; did you mean people.onnx or people or people_fast?",
        ),
        (["--model", "people", "--config-file", "a.yaml"], "are two models; give one of them"),
        (["--model", "notes.txt"], "notes.txt is no exported file; their names end in .mlpackage, .onnx, .pt, "),
        (["--model", "people.onnx"], "cannot load people.onnx"),
    ],
)
def test_a_file_that_is_none_is_said(flags, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("people.onnx", "notes.txt", "a.jpg"):
        (tmp_path / name).write_text("nothing")
    if flags[-1] == "people.onnx":
        pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    with pytest.raises(SystemExit):
        main(["--input", "a.jpg", "--json", "x.json", *flags])
    assert sentence in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "x.json").exists()


def test_a_model_of_the_package_is_given_by_its_name(tmp_path):
    image = str(ROOT / "datasets" / "examples" / "office.jpg")
    found = []
    for flag, name in (("--model", "people_fast"), ("--config-file", "demo_fast.yaml"), ("--model", "people")):
        assert main([flag, name, "--input", image, "--json", str(tmp_path / "people.json")]) == 0
        found.append((tmp_path / "people.json").read_text())
    assert found[0] == found[1] != found[2]
