"""The report from files, and the likelihoods beside them."""

import json

import numpy as np
import pytest
import report
import torch
from people_study.labels import read_results_of, read_set, together
from people_study.likelihood import compare_nats, pairs_by_box, people_nats, read_nats, write_nats
from people_toys import JOINTS, random_set, row_of_people, write_set

from rle_onestage.errors import DataError
from rle_onestage.evaluation import match_people
from rle_onestage.structures.error_density import ErrorDensity, density_axis


def gaussian_density():
    """Standard normal in both coordinates."""
    axis = density_axis(torch.zeros(1, 2), torch.ones(1, 2), 129)
    log_q = -(axis[:, 0, :, None] ** 2 + axis[:, 1, None, :] ** 2) / 2 - np.log(2 * np.pi)
    group = torch.zeros(len(JOINTS), dtype=torch.int64)
    return ErrorDensity(axis=axis, log_q=log_q, mean=torch.zeros(1, 2), std=torch.ones(1, 2), group=group)


def with_sigmas(results, sigma):
    return [{**r, "keypoint_sigmas": [sigma] * (2 * len(JOINTS))} for r in results]


def one_row(tmp_path, offsets):
    dataset, results = row_of_people(offsets)
    path = tmp_path / "row.json"
    path.write_text(json.dumps(dataset))
    return read_set("row", str(path)), results


def test_nats_are_those_of_the_density(tmp_path):
    labelled, results = one_row(tmp_path, [0.0, 0.1, None])
    first, second = people_nats(labelled, with_sigmas(results, 5.0), gaussian_density())
    constant = np.log(2 * np.pi) + 2 * np.log(5.0)
    assert first["joints"] == second["joints"] == 17
    assert first["nats"] == pytest.approx(17 * constant, rel=1e-3)
    assert second["nats"] == pytest.approx(17 * (constant + (10 / 5) ** 2 / 2), rel=1e-2)


def test_people_matched_by_box_are_those_of_the_package(tmp_path):
    labelled, results = random_set(tmp_path, seed=1, images=20)
    own = sorted(results[place]["score"] for place, _ in pairs_by_box(labelled, results))
    assert own == sorted(match_people(labelled.truth, results).score.tolist()) and len(own) > 10


def test_a_difference_of_nats_is_over_people_whom_both_found(tmp_path):
    labelled, results = one_row(tmp_path, [0.1, 0.1, 0.1])
    wide, narrow = (people_nats(labelled, with_sigmas(results, s), gaussian_density()) for s in (10.0, 5.0))
    table = compare_nats({"wide": wide, "narrow": narrow[:2]}, "wide", [1], resamples=20)
    expected = 0.5 * (2**2 - 1) - 2 * np.log(2)
    assert table["narrow"]["difference"] == pytest.approx(expected, abs=0.02)
    assert table["narrow"]["both"] == 34 and table["wide"]["both"] == 51
    assert table["narrow"]["difference_interval"] == pytest.approx([expected] * 2, abs=0.02)  # there is one image
    other = compare_nats({"wide": wide, "narrow": narrow[:2]}, "narrow", [1], resamples=20)
    assert other["wide"]["difference"] == pytest.approx(-expected, abs=0.02)
    assert other["wide"]["both"] == 34 and other["wide"]["joints"] == 51


@pytest.fixture
def files(tmp_path):
    """Two sets and the results of two models on both: one as it is, one with noise in its scores."""
    rng, sets, given = np.random.default_rng(0), [], []
    for seed, name in enumerate(("one", "two")):
        path, results = write_set(tmp_path, name, seed=seed)
        sets += ["--set", name, path]
        labelled = read_set(name, path)
        for model in ("good", "noisy"):
            if model == "noisy":
                results = [{**r, "score": float(rng.random())} for r in results]
            file = tmp_path / f"{model}_{name}.json"
            file.write_text(json.dumps(results))
            given += ["--results", model, "320", name, str(file)]
            write_nats(str(file), people_nats(labelled, with_sigmas(results, 20.0), gaussian_density()))
    return sets, given, tmp_path


def test_one_command_writes_figures_of_each_set_and_of_both(files, capsys):
    sets, given, folder = files
    report.main([*sets, *given, "--baseline", "good", "--resamples", "50", "--output", str(folder / "out")])
    written = json.loads((folder / "out" / "report.json").read_text())
    assert set(written["metrics"]) == {"one", "two", "together"}
    assert written["sets"]["together"]["images"] == sum(written["sets"][n]["images"] for n in ("one", "two"))
    own = written["differences"]["together"]["320"]["noisy"]["AP"]
    models = written["metrics"]["together"]["320"]
    assert own["difference"] == pytest.approx(models["noisy"]["AP"] - models["good"]["AP"])
    joints = [written["nats"][name]["320"]["good"]["joints"] for name in ("one", "two", "together")]
    assert joints[0] + joints[1] == joints[2] > 0
    text = (folder / "out" / "report.md").read_text()
    assert text in capsys.readouterr().out and f"| {models['noisy']['AP']:.1f} " in text
    assert "## together: 24 images" in text and "left_wrist" in text


def test_a_list_cuts_a_set_with_its_likelihoods_also_in_the_whole(files):
    sets, given, folder = files
    chosen = folder / "names.txt"
    chosen.write_text("0.jpg\n1.jpg\n2.jpg\n3.jpg\n")
    flags = [*sets, *given, "--list", "one", str(chosen), "--resamples", "5", "--output", str(folder / "out")]
    report.main(flags)
    written = json.loads((folder / "out" / "report.json").read_text())
    assert [written["sets"][name]["images"] for name in ("one", "two", "together")] == [4, 12, 16]
    joints = [written["nats"][name]["320"]["good"]["joints"] for name in ("one", "two", "together")]
    assert joints[0] + joints[1] == joints[2] > joints[1] > 0


def test_a_model_on_one_set_alone_has_no_figures_of_both(files):
    sets, given, folder = files
    report.main([*sets, *given[:-5], "--resamples", "20", "--output", str(folder / "out")])
    written = json.loads((folder / "out" / "report.json").read_text())
    assert list(written["metrics"]["together"]["320"]) == ["good"]
    assert list(written["metrics"]["one"]["320"]) == ["good", "noisy"]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda a: [*a, "--baseline", "other"], "--baseline other has no results"),
        (lambda a: [*a, "--results", "x", "big", "one", "f"], "has the side big"),
        (lambda a: [*a, "--results", "x", "320", "three", "f"], "of set three, which --set does not name"),
        (lambda a: [*a, *a[-5:]], "two files are noisy at 320 on two"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(files, capsys, change, message):
    sets, given, folder = files
    with pytest.raises(SystemExit) as stopped:
        report.main([*sets, "--output", str(folder / "out"), *change(given)])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and message in error and error.count("\n") == 1
    assert not list((folder / "out").glob("*"))


def test_results_of_another_set_or_skeleton_are_refused(tmp_path):
    labelled, results = random_set(tmp_path)
    other = tmp_path / "other.json"
    other.write_text(json.dumps([{**r, "image_id": 10**6} for r in results]))
    with pytest.raises(DataError, match="results are of images that .* does not have"):
        read_results_of(labelled, str(other))
    other.write_text(json.dumps([{**results[0], "keypoints": [0.0] * 42}]))
    with pytest.raises(DataError, match="14 joints in `keypoints`, but .* has 17"):
        read_results_of(labelled, str(other))


def test_a_list_of_names_cuts_the_set_and_its_results(tmp_path):
    labelled, results = random_set(tmp_path)
    names = [image["file_name"] for image in labelled.truth.images.values()]
    chosen = tmp_path / "names.txt"
    chosen.write_text("\n".join(names[:3]) + "\n")
    part = read_set("part", labelled.truth.source, list_file=str(chosen))
    assert [image["file_name"] for image in part.truth.images.values()] == names[:3]
    file = tmp_path / "results.json"
    file.write_text(json.dumps(results))
    own = read_results_of(part, str(file))
    assert {r["image_id"] for r in own} <= set(part.truth.images) and 0 < len(own) < len(results)
    chosen.write_text("nobody.jpg\n")
    with pytest.raises(DataError, match=r"names nobody.jpg, which is not in"):
        read_set("part", labelled.truth.source, list_file=str(chosen))
    assert read_nats(str(file)) is None and len(together([part]).labelled.truth.images) == 3
