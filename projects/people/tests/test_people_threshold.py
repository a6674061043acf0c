"""The command for thresholds: chosen on held-out images, told elsewhere, for several models."""

import json

import cv2
import numpy as np
import pytest
import threshold
from people_toys import row_of_people


@pytest.fixture
def made(tmp_path):
    """Flags for sets and results of two models.

    On the held-out row, model ``a`` finds people down to a score of 0.6; on the other row it has one right detection
    above that (0.9), and ghosts at 0.8 and at 0.4. On two backgrounds it has scores of 0.7 and 0.5.
    """
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "row.png"), np.full((100, 800, 3), 90, np.uint8))
    held, found = row_of_people([0.0, 0.0, 0.0, 0.0])
    other, seen = row_of_people([0.0, None])
    empty = {**held, "annotations": [], "images": [{**held["images"][0], "id": i} for i in (1, 2)]}
    ghosts = [{**found[3], "score": s} for s in (0.8, 0.4)]
    barely = [{**found[0], "image_id": i, "score": s} for i, s in ((1, 0.7), (2, 0.5))]
    files = {
        "held.json": held, "other.json": other, "empty.json": empty, "a_held.json": found,
        "a_other.json": [*seen, *ghosts], "a_empty.json": barely, "b_held.json": found[:1], "b_other.json": seen,
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    flags = ["--held-out", "held", "--backgrounds", "empty", "--resamples", "10", "--output", str(tmp_path / "out")]
    for name in ("held", "other", "empty"):
        flags += ["--set", name, str(tmp_path / f"{name}.json"), str(tmp_path / "images")]
    for name in ("a_held", "a_other", "a_empty", "b_held", "b_other"):
        flags += ["--results", *name.split("_"), str(tmp_path / f"{name}.json")]
    return tmp_path, flags


def test_one_command_chooses_on_held_out_images_and_tells_the_rest(made, capsys):
    folder, flags = made
    threshold.main([*flags, "--worst", "other"])
    report = json.loads((folder / "out" / "threshold.json").read_text())
    assert report["a"]["held_out"]["threshold"] == pytest.approx(0.6) and report["a"]["held_out"]["f1"] == 100
    own = report["a"]["sets"]["other"]
    assert (own["right"], own["wrong"], own["precision"], own["recall"]) == (1, 1, 50, 50)
    assert own["own_best"]["threshold"] == pytest.approx(0.9)
    assert own["intervals"]["precision"] == [50, 50]  # there is one image
    assert report["a"]["backgrounds"]["empty"]["with_people"] == 1
    assert report["b"]["held_out"]["threshold"] == pytest.approx(0.9) and report["b"]["backgrounds"] == {}
    assert report["a"]["worst"]["other"][0]["missed"] == 1
    assert all((folder / "out" / f"worst_{model}_other.jpg").is_file() for model in "ab")
    text = capsys.readouterr().out
    assert "a: 1 of the 2 images of empty (50.0 %) have a detection of 0.600 or more" in text


def test_a_threshold_may_be_given(made):
    folder, flags = made
    threshold.main([*flags, "--threshold", "0.3"])
    report = json.loads((folder / "out" / "threshold.json").read_text())
    assert report["a"]["sets"]["other"]["wrong"] == 2 and report["a"]["backgrounds"]["empty"]["share"] == 100


def test_bad_input_is_one_sentence(made, capsys):
    folder, flags = made
    no_held_out = [flag for flag in flags if flag != str(folder / "b_held.json")]
    place = no_held_out.index("b")
    del no_held_out[place - 1 : place + 2]
    for given, message in (
        ([*flags, "--worst", "nowhere"], "there is no set nowhere"),
        ([*flags, "--results", "a", "nowhere", "f"], "of set nowhere, which --set does not name"),
        ([*flags, "--list", "nowhere", "f"], "--list nowhere is of no set"),
        (no_held_out, "no results on the held-out set held"),
    ):
        with pytest.raises(SystemExit) as stopped:
            threshold.main(given)
        error = capsys.readouterr().err
        assert stopped.value.code == 2 and message in error and error.count("\n") == 1
    assert not (folder / "out").exists()
