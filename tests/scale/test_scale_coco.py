"""COCO results beside a job's folder: nobody else's files are replaced, its own are, and the joints are beside them."""

import json

import numpy as np
import pytest
from calibration_toys import laplace_density
from scale_toys import Toy, folder_of, use

from rle_onestage.cli.predict import main
from rle_onestage.evaluation.joint_factors import joint_factors
from rle_onestage.evaluation.people_parquet import read_parts
from rle_onestage.scale import JobOptions, coco, predict
from rle_onestage.structures.skeleton import COCO

pytest.importorskip("pyarrow")


@pytest.fixture
def toy(monkeypatch):
    return use(monkeypatch, Toy())


@pytest.fixture
def words(tmp_path, toy, monkeypatch):
    """A command whose results go to people.json and people_joints.json of the current folder."""
    monkeypatch.chdir(tmp_path)
    return ["--input", folder_of(tmp_path / "in", [1, 2]), "--output", "people", "--format", "coco"]


def refused(words, capsys):
    """The sentence by which a command is refused."""
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("name", ["people.json", "people_joints.json"])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_files_of_others_are_not_replaced(tmp_path, words, toy, capsys, name, kind):
    (tmp_path / name).write_text("[]") if kind == "file" else (tmp_path / name).mkdir()
    expected = f"would replace {name}, which this job did not write; give another --output, or remove that file"
    assert expected in refused(words, capsys)
    assert not toy.batches and not (tmp_path / "people").exists()  # before any work
    assert kind == "folder" or (tmp_path / name).read_text() == "[]"
    assert main(words[:-2]) == 0  # Parquet alone is in nobody's way
    assert expected in refused(words, capsys)


def test_a_jobs_own_files_are_replaced_until_somebody_changes_them(tmp_path, words, toy, capsys):
    assert main(words) == main(words) == 0
    results = tmp_path / "people.json"
    before = results.read_bytes()
    (tmp_path / "people" / "part-000000.parquet").unlink()
    toy.category = toy.category._replace(id=7)
    assert main(words) == 0 and results.read_bytes() != before
    results.write_bytes(before)  # is of this job as well
    assert main(words) == 0
    results.write_bytes(before + b"\n")
    assert "people.json, which this job did not write" in refused(words, capsys)
    results.unlink()
    assert main(words) == 0


def test_a_call_that_is_killed_between_the_two_can_be_given_again(tmp_path, words):
    def killed(*args):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(coco, "write_json", killed)
        main(words)
    assert (tmp_path / "people.json").exists() and not (tmp_path / "people_joints.json").exists()
    assert main(words) == 0


def test_the_joints_are_beside_the_results_and_in_the_parquet_files(tmp_path, words, toy):
    toy.error_density = laplace_density(17)
    assert main(words) == 0
    joints = json.loads((tmp_path / "people_joints.json").read_text())
    assert joints == json.loads(json.dumps(joint_factors(COCO, toy.error_density)))
    ((_, metadata),) = read_parts(tmp_path / "people")
    assert metadata == {"category_id": 1, **{key.replace("keypoints", "joints"): joints[key] for key in joints}}
    # As the page on inference reads the two files.
    half = np.array(joints["half_widths"]["90"])[:, None]
    (person, _) = json.loads((tmp_path / "people.json").read_text())
    assert (half * np.reshape(person["keypoint_sigmas"], (-1, 2))).shape == (17, 2)
    assert person["file_name"].endswith("000001.png")


def test_a_model_without_a_density_has_names_alone(tmp_path, toy):
    predict(folder_of(tmp_path / "in", [1]), output=str(tmp_path / "out"), options=JobOptions(coco=True))
    assert json.loads((tmp_path / "out_joints.json").read_text()).keys() == {"keypoints", "skeleton"}
