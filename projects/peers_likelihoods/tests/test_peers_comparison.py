"""The comparison of toy runs, and the commands of other projects that it asks."""

import json
from types import SimpleNamespace

import forked_python
import pytest
from peers_likelihoods import comparison
from peers_likelihoods.others import bootstrap_ap, run_command
from test_peers_report import gaussian_density, people

from rle_onestage.errors import DataError


class ToyRun(SimpleNamespace):
    """A run whose results are drawn: what :class:`Trained` has."""

    own, alone = "own", "alone"

    def density(self):
        return gaussian_density()

    def matches(self, dataset):
        return people(told=self.told, seed=self.seed)

    def average_precision(self, folder, dataset):
        return self.ap + 2 * (folder == "own")

    def results_file(self, folder, dataset):
        return f"{self.rule}_{folder}.json"


@pytest.fixture
def compared(monkeypatch, tmp_path):
    """Two rules with two seeds each; the second one's sigmas are three times too large."""
    asked = []

    def ap(files, baseline, name, annotations, output, resamples):
        asked.append((files, baseline))
        return {rule: {"difference": -1.0, "difference_interval": [-2.0, -0.5]} for rule in files}

    monkeypatch.setattr(comparison, "bootstrap_ap", ap)
    monkeypatch.setattr(comparison, "get_metadata", lambda name: SimpleNamespace(json_file="labels.json"))
    runs = [
        ToyRun(rule=rule, seed=seed, told=told, ap=ap + seed)
        for rule, told, ap in (("rle", 1.0, 30.0), ("rf_detr_published", 3.0, 28.0))
        for seed in (1, 2)
    ]
    found = comparison.compare_set(runs, "some_val", str(tmp_path), resamples=100)
    return found, asked


def test_rows_have_means_over_seeds_and_differences_of_both_kinds(compared):
    found, _ = compared
    rows = found["rows"]
    assert list(rows["rle"]["seeds"]) == [1, 2] and rows["rle"]["mean"]["own_AP"] == 33.5
    other = rows["rf_detr_published"]
    assert other["mean"]["factor"] == pytest.approx(1 / 3, rel=0.1)
    assert other["images"]["own_AP"] == {"difference": -1.0, "interval": [-2.0, -0.5]}
    assert other["images"]["nats"]["interval"][0] > 0.2  # worse, and not by chance
    low, high = other["images"]["corrected_nats"]["interval"]
    assert -0.1 < low <= high < 0.1  # one factor makes them the same
    assert other["over_seeds"]["own_AP"]["difference"] == -2 and other["over_seeds"]["own_AP"]["seeds"] == 2
    assert not rows["rle"]["images"] and not rows["rle"]["over_seeds"]


def test_each_score_is_compared_on_its_own_files_of_the_first_seed(compared):
    _, asked = compared
    assert [baseline for _, baseline in asked] == ["rle", "rle"]
    assert [files["rle"] for files, _ in asked] == ["rle_own.json", "rle_alone.json"]


def test_without_the_baseline_there_are_figures_and_no_differences(tmp_path):
    found = comparison.compare_set([ToyRun(rule="laplace", seed=1, told=1.0, ap=3.0)], "some_val", str(tmp_path))
    assert found["rows"]["laplace"]["mean"]["person_AP"] == 3 and "images" not in found["rows"]["laplace"]


def test_ap_comes_from_the_command_of_the_people(tmp_path, monkeypatch):
    """Two images with a person each; the second model misses one of them."""
    names = ["head", "hand", "foot"]
    joints = [[10, 10, 2, 30, 20, 2, 20, 50, 2], [40, 12, 2, 60, 22, 2, 50, 52, 2]]
    people_of = [
        {"id": i + 1, "image_id": i + 1, "category_id": 1, "bbox": [5, 5, 60, 60], "area": 3600, "iscrowd": 0,
         "num_keypoints": 3, "keypoints": points}
        for i, points in enumerate(joints)
    ]  # fmt: skip
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 100, "height": 100} for i in (1, 2)]
    category = {"id": 1, "name": "person", "keypoints": names, "skeleton": []}
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps({"images": images, "annotations": people_of, "categories": [category]}))
    results = [{key: a[key] for key in ("image_id", "category_id", "keypoints")} | {"score": 0.9} for a in people_of]
    files = {}
    for name, part in (("all", results), ("half", results[:1])):
        files[name] = str(tmp_path / f"{name}.json")
        (tmp_path / f"{name}.json").write_text(json.dumps(part))
    monkeypatch.setattr("peers_likelihoods.others.subprocess", forked_python)
    found = bootstrap_ap(files, "all", "toy", str(labels), str(tmp_path / "out"), 20)
    assert found["all"]["value"] == pytest.approx(100) and found["half"]["difference"] < -40


def test_a_command_that_fails_is_a_sentence_with_its_log(tmp_path):
    script = tmp_path / "fails.py"
    script.write_text("import sys; print('why'); sys.exit(2)")
    with pytest.raises(DataError, match="fails.py ended with code 2; its words are in .*log.txt"):
        run_command([str(script)], str(tmp_path / "log.txt"))
    assert (tmp_path / "log.txt").read_text() == "why\n"
