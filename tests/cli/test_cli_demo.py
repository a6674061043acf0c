"""rle-onestage demo on videos: what the flags do."""

import os

import pytest
from media_toys import one_person, read, video

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
    monkeypatch.setattr("rle_onestage.predictor.Predictor", lambda cfg, precision: one_person)
    source = video(tmp_path / "in.mp4")
    for name, flags in (("a", ["--track"]), ("b", ["--smooth"]), ("c", ["--smooth", "--lag", "0", "--legend"])):
        output, results = tmp_path / f"{name}.mp4", tmp_path / f"{name}.jsonl"
        arguments = ["--video-input", source, "--output", str(output), "--json", str(results), *flags]
        assert main(arguments) == 0
        tracks = read_tracks(results)
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
