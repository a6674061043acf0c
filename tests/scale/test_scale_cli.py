"""The command: its exit codes, its sentences, and what evaluate reads of its results."""

import json
import os
import signal
import sys

import cv2
import numpy as np
import pytest
from scale_toys import Toy, brightness, folder_of, png, rows_in, use

from rle_onestage.cli.predict import main, share
from rle_onestage.evaluation import score_results
from rle_onestage.structures.skeleton import COCO

pytest.importorskip("pyarrow")


@pytest.mark.parametrize("text, value", [("1%", 0.01), ("0.25", 0.25), ("0", 0.0), ("100%", 1.0)])
def test_shares(text, value):
    assert share(text) == pytest.approx(value)


def test_exit_codes(tmp_path, monkeypatch, capsys):
    use(monkeypatch, Toy())
    folder = folder_of(tmp_path / "in", [1, 2, 3])
    (tmp_path / "in" / "000002.png").write_bytes(b"")
    words = ["--input", folder, "--output", str(tmp_path / "out")]
    assert main(words) == 1
    assert main([*words, "--max-errors", "34%"]) == 0
    assert [brightness(row) for row in rows_in(tmp_path / "out")] == [1, None, 3]
    for more, text in (
        (["--model", "people_synthetic"], "has results of another model"),
        (["--actors", "2"], "--actors 2 needs --ray"),
        (["--model", "people", "--config-file", "demo.yaml"], "--model and --config-file both name the model"),
        (["--cores", "2"], "--cores belongs to --plan"),
        (["--rows", "2"], "has results of another rows"),
        (["--max-errors", "two"], "is not a share such as 1%"),
        (["--confidence-threshold", "30"], "give a number from 0 to 1"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main([*words, *more])
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
        assert stopped.value.code == 2 and text in line


@pytest.mark.parametrize("flag", ["--model", "--config-file"])
def test_models_that_are_not_there(tmp_path, capsys, flag):
    folder = folder_of(tmp_path / "in", [1])
    (tmp_path / "a.pth").write_bytes(b"")
    for name, text in (("peopel", "there is no model 'peopel'"), ("own.yaml", "config own.yaml of --model does not"),
                       (str(tmp_path / "a.pth"), "has no config.yaml beside it")):  # fmt: skip
        with pytest.raises(SystemExit) as stopped:
            main(["--input", folder, "--output", str(tmp_path / "out"), flag, name])
        assert stopped.value.code == 2 and text in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_ap_of_the_parquet_files_is_that_of_the_coco_results(tmp_path, monkeypatch):
    use(monkeypatch, Toy())
    numbers = [10, 40, 90]
    folder = folder_of(tmp_path / "in", numbers)
    assert main(["--input", folder, "--output", str(tmp_path / "out"), "--format", "coco", "--batch", "2"]) == 0
    toy = Toy()
    labels = []
    for number in numbers:
        person = toy.person(cv2.imdecode(np.frombuffer(png(number), np.uint8), cv2.IMREAD_COLOR))
        points = person.pred_keypoints[0, :, :2] - 0.5 + (0 if number != 40 else 3)
        labels.append([float(v) for x, y in points.tolist() for v in (x, y, 2)])
    truth = {
        "images": [{"id": n, "file_name": f"{n:06d}.png", "width": 64, "height": 48} for n in numbers],
        "annotations": [
            {"id": i + 1, "image_id": n, "category_id": 1, "keypoints": k, "num_keypoints": 17, "iscrowd": 0,
             "bbox": [5, 2, 40, 40], "area": 800.0} for i, (n, k) in enumerate(zip(numbers, labels))
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO.names), "skeleton": []}],
    }  # fmt: skip
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    by_json = score_results(str(tmp_path / "truth.json"), str(tmp_path / "out.json"))
    by_parquet = score_results(str(tmp_path / "truth.json"), str(tmp_path / "out"))
    assert repr(by_json) == repr(by_parquet) and 0 < by_json["keypoints"]["AP"] < 100


def test_a_missing_package_is_one_sentence(tmp_path, monkeypatch, capsys):
    use(monkeypatch, Toy())
    words = ["--input", folder_of(tmp_path / "in", [1]), "--output", str(tmp_path / "out"), "--ray", "local"]
    for name, extra in (("ray", "ray"), ("pyarrow", "parquet")):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(SystemExit) as stopped:
            main(words)
        expected = f"error: {name} is not installed; run pip install 'rle-onestage[{extra}]'"
        assert stopped.value.code == 2 and capsys.readouterr().err.splitlines()[-1] == expected
        assert not (tmp_path / "out").exists()


def test_sigterm_ends_as_ctrl_c_does(tmp_path, monkeypatch, capsys, caplog):
    class Ended(Toy):
        def batch(self, images):
            if self.batches:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().batch(images)

    use(monkeypatch, Ended())
    words = ["--input", folder_of(tmp_path / "in", [1, 2, 3]), "--output", str(tmp_path / "out"), "--batch", "1"]
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--rows", "2"])
    told = capsys.readouterr()
    assert stopped.value.code == 143 and told.err.splitlines()[-1] == "interrupted"
    assert "interrupted: the same command goes on with what is left" in caplog.messages
    assert os.listdir(tmp_path / "out") == ["_plan.json"]
    use(monkeypatch, Toy())
    assert main([*words, "--rows", "2"]) == 0
    assert [brightness(row) for row in rows_in(tmp_path / "out")] == [1, 2, 3]
