"""Both models are run, timed in turn and reported by one command."""

import json
import sys
from pathlib import Path

import beside_movenet
import cv2
import latency
import numpy as np
import pytest
import run_model
from people_study.labels import read_set
from people_study.latency import in_turn, ratios
from people_study.runs import MoveNet
from people_toys import row_of_people

from rle_onestage.errors import ConfigError, MediaError
from rle_onestage.evaluation import read_results

CONFIG = str(Path(__file__).resolve().parents[3] / "configs" / "demo.yaml")
FAKE = str(Path(__file__).resolve().parent / "fake_movenet.py")
SIDE = 64


@pytest.fixture
def made(tmp_path):
    """A set of one image, and flags for the peer."""
    dataset, _ = row_of_people([0.0, 0.0])
    (tmp_path / "row.json").write_text(json.dumps(dataset))
    image = np.random.default_rng(0).integers(0, 256, (100, 400, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "row.png"), image)
    peer = ["--movenet-python", sys.executable, "--movenet-script", FAKE, "--movenet-models", str(tmp_path)]
    return tmp_path, [str(tmp_path / "row.json"), str(tmp_path)], peer


def test_turns_alternate_and_the_ratio_is_of_the_same_turns():
    asked = []

    def ask(name, times):
        return lambda: asked.append(name) or next(times)

    first = ask("a", iter([9.0] * 6 + [1.0, 3.0] + [9.0, 2.0, 4.0]))
    second = ask("b", iter([9.0] * 6 + [2.0, 4.0] + [9.0, 10.0, 14.0]))
    measured = in_turn({"a": first, "b": second}, rounds=2, calls=2, pause=0)
    assert measured == {"a": {"ms": 2.5, "turns": [2.0, 3.0]}, "b": {"ms": 7.5, "turns": [3.0, 12.0]}}
    assert "".join(asked) == "aaaaabbbbb" + 2 * "aaabbb"
    assert ratios(measured, "b") == {"a": pytest.approx((2 / 3 + 3 / 12) / 2)}


def test_the_peer_is_asked_in_its_own_process(made):
    folder, (annotations, images), _ = made
    peer = MoveNet(sys.executable, FAKE, str(folder))
    assert 0 <= peer.ask(str(folder / "row.png"), 320) < 1000
    with pytest.raises(ConfigError, match="process ended: ValueError: side 13 is unlucky"):
        peer.ask(str(folder / "row.png"), 13)
    peer.close()
    peer.write(annotations, images, 50, str(folder / "results.json"))
    assert [r["score"] for r in read_results(str(folder / "results.json"))] == [0.5, 0.5]
    with pytest.raises(MediaError, match="could not do .* at 13: side 13 is unlucky"):
        peer.write(annotations, images, 13, str(folder / "other.json"))
    assert not list(folder.glob("other*"))


def test_an_interpreter_or_a_script_that_is_not_there_is_told(made):
    folder, (annotations, images), _ = made
    with pytest.raises(ConfigError, match="--movenet-script .*nowhere.py is not there"):
        MoveNet(sys.executable, str(folder / "nowhere.py"), str(folder))
    with pytest.raises(ConfigError, match="--movenet-python .*python cannot be started"):
        MoveNet(str(folder / "python"), FAKE, str(folder)).ask(str(folder / "row.png"), 320)


def test_one_command_runs_both_and_times_them_and_keeps_what_is_there(made, capsys):
    folder, given, peer = made
    out = folder / "out"
    command = ["--config-file", CONFIG, "--side", str(SIDE), "--set", "row", *given, *peer, "--resamples", "5"]
    command += ["--output", str(out), "--image", str(folder / "row.png"), "--rounds", "2", "--calls", "1"]
    beside_movenet.main([*command, "--threads", "1"])
    report = json.loads((out / "report.json").read_text())
    assert report["metrics"]["row"][str(SIDE)]["movenet"]["AP"] == pytest.approx(100)
    assert report["differences"]["row"][str(SIDE)]["ours"]["AP"]["difference"] < 0
    own = report["latency"]["sides"][str(SIDE)]
    assert own["ours"]["ms"] > own["movenet"]["ms"] > 0 and own["ratio"] > 1
    assert "ours / MoveNet" in (out / "report.md").read_text() and "## Latency" in capsys.readouterr().out
    files = {path.name: path.stat().st_mtime_ns for path in out.glob("*_row_*")}
    assert set(files) == {f"ours_row_{SIDE}.json", f"ours_row_{SIDE}.likelihood.json", f"movenet_row_{SIDE}.json"}
    beside_movenet.main([*command[:-6]])
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("*_row_*")} == files


def test_results_are_those_of_the_predictor_at_that_side(made, capsys):
    folder, given, _ = made
    flags = ["--name", "m", "--side", str(SIDE), str(2 * SIDE), "--set", "row", *given, "--output", str(folder)]
    run_model.main(["--config-file", CONFIG, *flags, "--opts", "MODEL.RLE_ONESTAGE.TEST.SCORE_THRESH", "0.0"])
    small, large = (read_results(run_model.results_file(str(folder), "m", "row", s)) for s in (SIDE, 2 * SIDE))
    predictor = run_model.Ours(CONFIG, SIDE, options=["MODEL.RLE_ONESTAGE.TEST.SCORE_THRESH", 0.0]).predictor
    image = cv2.imread(str(folder / "row.png"))
    assert max(predictor.resize(image).shape[:2]) == SIDE and small != large
    assert [r["score"] for r in small] == predictor(image).scores.double().tolist()
    with pytest.raises(SystemExit):  # another model of the same name would be reported by the results of this one
        run_model.main(["--config-file", CONFIG, *flags])
    assert "has results of another model called m" in capsys.readouterr().err


def test_a_set_without_folder_or_with_other_joints_cannot_be_run(made, capsys):
    folder, (annotations, images), peer = made
    content = json.loads(Path(annotations).read_text())
    content["categories"][0]["keypoints"] = content["categories"][0]["keypoints"][:3]
    content["annotations"] = []
    (folder / "three.json").write_text(json.dumps(content))
    for given, message in (
        ([annotations], "set row has no image folder"),
        ([str(folder / "three.json"), images], "the model has 17 joints but"),
        ([annotations, images, "more"], "must be a name, an annotation file and perhaps an image folder"),
        ([annotations, str(folder / "none")], "there is no image folder"),
    ):
        with pytest.raises(SystemExit):
            run_model.main(["--config-file", CONFIG, "--name", "m", "--set", "row", *given, "--output", str(folder)])
        assert message in capsys.readouterr().err
    assert read_set("row", annotations).folder is None and not list(folder.glob("m_*"))


def test_latency_alone_is_written_too(made):
    folder, _, peer = made
    command = ["--config-file", CONFIG, "--image", str(folder / "row.png"), "--side", str(SIDE), "--threads", "1"]
    latency.main([*command, "--rounds", "1", "--calls", "1", *peer, "--output", str(folder / "out")])
    own = json.loads((folder / "out" / "latency.json").read_text())["sides"][str(SIDE)]
    assert own["ratio"] == pytest.approx(own["ours"]["ms"] / own["movenet"]["ms"])
    assert f"| {SIDE}" in (folder / "out" / "latency.md").read_text()
