"""rle-onestage demo on videos: what the flags do."""

import os

import numpy as np
import pytest
import torch
from calibration_toys import laplace_density
from media_toys import one_person, read, video
from PIL import Image

from rle_onestage.cli.demo import main
from rle_onestage.evaluation import read_tracks

ROOT = os.path.join(os.path.dirname(__file__), "..", "..")


def test_tool(tmp_path, monkeypatch):
    monkeypatch.setattr("rle_onestage.predictor.Predictor", lambda cfg, precision: one_person)
    config = os.path.join(ROOT, "configs", "quickstart.yaml")
    given = ["--config-file", config, "--video-input", video(tmp_path / "v.mp4"), "--json", str(tmp_path / "r")]
    assert main([*given, "--batch", "2"]) == 0 and read_tracks(tmp_path / "r").frames == 6
    for wrong in ("0", "x"):
        with pytest.raises(SystemExit):
            main([*given, "--batch", wrong])


def test_track_and_smooth_by_the_command_line(tmp_path, monkeypatch):
    """Identities in the results, with and without frames to wait for."""
    monkeypatch.setattr(one_person, "error_density", laplace_density(17), raising=False)
    monkeypatch.setattr("rle_onestage.predictor.Predictor", lambda cfg, precision: one_person)
    source = video(tmp_path / "in.mp4")
    for name, flags in (("a", ["--track"]), ("b", ["--smooth"]), ("c", ["--smooth", "--lag", "0", "--legend"])):
        output, results = tmp_path / f"{name}.mp4", tmp_path / f"{name}.jsonl"
        arguments = ["--video-input", source, "--output", str(output), "--json", str(results), *flags]
        assert main(arguments) == 0
        tracks = read_tracks(results)
        # A filter's errors have another shape than the model's.
        assert ("half_widths" in tracks.header) == (flags == ["--track"]) == ("ellipse_radii" in tracks.header)
        assert set(tracks.track_id.tolist()) == {1} and tracks.frame.tolist() == list(range(len(read(output))))
    with pytest.raises(SystemExit):
        main(["--video-input", source, "--output", str(tmp_path), "--smooth", "--lag", "-1"])


def test_a_threshold_reaches_the_tracker(tmp_path, monkeypatch):
    monkeypatch.setattr("rle_onestage.predictor.Predictor", lambda cfg, precision: one_person)
    source, results = video(tmp_path / "in.mp4"), tmp_path / "a.jsonl"
    for threshold, found in (("0.99", 0), ("0.05", 6)):
        arguments = ["--video-input", source, "--json", str(results), "--track", "--confidence-threshold", threshold]
        assert main(arguments) == 0
        assert (read_tracks(results).track_id == 1).sum() == found


def test_hidden_joints_cannot_be_left_out_where_the_model_does_not_tell_them(tmp_path, monkeypatch, capsys):
    source, drawn = video(tmp_path / "in.mp4"), {}

    def predictor(image):
        people = one_person(image)
        people.pred_keypoint_visibility = torch.full((2, 17), 0.3)
        return people

    predictor.skeleton, predictor.category = one_person.skeleton, one_person.category
    monkeypatch.setattr("rle_onestage.predictor.Predictor", lambda cfg, precision: predictor)
    for tells in (True, False):
        predictor.tells_hidden = tells
        for flag in ("show", "omit"):
            arguments = ["--video-input", source, "--output", str(tmp_path / f"{flag}.mp4"), "--hidden", flag]
            if tells:
                assert main(arguments) == 0
                drawn[flag] = read(tmp_path / f"{flag}.mp4")[0].image.astype(int)
            else:
                with pytest.raises(SystemExit):
                    main(arguments)
                assert f"--hidden {flag} needs a model that tells" in capsys.readouterr().err
    assert np.abs(drawn["show"] - drawn["omit"]).max() > 60


def test_an_animated_image_is_an_image(tmp_path, monkeypatch):
    monkeypatch.setattr("rle_onestage.predictor.Predictor", lambda cfg, precision: one_person)
    Image.new("RGB", (64, 48)).save(tmp_path / "a.gif")
    assert main(["--input", str(tmp_path / "a.gif"), "--output", str(tmp_path / "out")]) == 0
    assert len(os.listdir(tmp_path / "out")) == 1


def test_a_video_among_inputs_is_told_before_the_model_is_loaded(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("rle_onestage.predictor.Predictor", lambda cfg, precision: pytest.fail("the model is loaded"))
    with pytest.raises(SystemExit) as end:
        main(["--input", video(tmp_path / "in.mp4"), "--output", str(tmp_path / "out")])
    assert end.value.code == 2 and "in.mp4 is named like a video; give it with --video-input" in capsys.readouterr().err
