"""Scores of benchmarks: those of their own programs on made detections, and the maximum for the labels themselves.

The programs' figures are in ``benchmark_references.json``, which ``make_benchmark_references.py`` writes.
"""

import json
import logging
import math
from pathlib import Path

import benchmark_toys as toys
import numpy as np
import pytest
from scipy.io import savemat

from rle_onestage import cli
from rle_onestage.data.datasets import register_from_config
from rle_onestage.engine.expected import check_expected_names
from rle_onestage.engine.setup import load_config
from rle_onestage.errors import ConfigError, DataError
from rle_onestage.evaluation import EVALUATOR_REGISTRY, PoseEvaluator, build_evaluator, score_results
from rle_onestage.evaluation.protocols import known_metrics
from rle_onestage.structures import COCO, CROWDPOSE, WHOLEBODY

REFERENCES = json.loads((Path(__file__).parent / "benchmark_references.json").read_text())
BACKENDS = pytest.mark.parametrize("backend", ["pycocotools", "faster"])


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The folder of data sets, empty."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    return tmp_path


def write(root, file, content):
    """Write JSON below the folder of data sets; returns its path."""
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return str(path)


def write_mpii(root, people, mat):
    """Both files of MPII; returns the first one's path."""
    arrays = {
        "jnt_missing": np.array(mat["jnt_missing"], float).T,
        "pos_gt_src": np.array(mat["pos_gt_src"]).transpose(1, 2, 0),
        "headboxes_src": np.array(mat["headboxes_src"]).transpose(1, 2, 0),
        "dataset_joints": np.array([mat["dataset_joints"]], dtype=object),
    }
    path = write(root, "mpii/annotations/mpii_val.json", people)
    savemat(root / "mpii/annotations/mpii_gt_val.mat", arrays)
    return path


def scores_of(root, name, results=None, **options):
    """Scores of results, or of the labels, by the name of a data set."""
    from rle_onestage.data.datasets import get_metadata

    results = None if results is None else write(root, "results.json", results)
    return score_results(get_metadata(name).json_file, results, dataset_name=name, **options)


def assert_reference(found, reference):
    """The same metrics, to 1e-6 of a percent; null is nothing in that range."""
    assert list(found) == list(reference)
    expected = [math.nan if value is None else value for value in reference.values()]
    np.testing.assert_allclose(list(found.values()), expected, rtol=0, atol=1e-6)


CROWDPOSE_FILE = "crowdpose/annotations/mmpose_crowdpose_test.json"
WHOLEBODY_FILE = "coco/annotations/coco_wholebody_val_v1.0.json"
OF_COCO = {
    "rle_ochuman_test": "ochuman/annotations/ochuman_coco_format_test_range_0.00_1.00.json",
    "rle_humanart_val": "HumanArt/annotations/validation_humanart.json",
}


@BACKENDS
@pytest.mark.parametrize("name", OF_COCO)
def test_ochuman_and_human_art_are_scored_as_coco(root, name, backend):
    dataset, results = toys.coco_case()
    write(root, OF_COCO[name], dataset)
    assert_reference(scores_of(root, name, results, backend=backend)["keypoints"], REFERENCES["coco"])


@BACKENDS
def test_crowdpose_is_scored_as_its_program_does(root, backend):
    dataset, results = toys.crowdpose_case()
    write(root, CROWDPOSE_FILE, dataset)
    scores = scores_of(root, "rle_crowdpose_test", results, backend=backend)
    assert_reference(scores["keypoints"], REFERENCES["crowdpose"])
    assert "bbox" not in scores


@BACKENDS
def test_wholebody_is_scored_as_its_program_does(root, backend):
    dataset, results = toys.wholebody_case()
    write(root, WHOLEBODY_FILE, dataset)
    scores = scores_of(root, "rle_coco_wholebody_val", results, backend=backend)
    for part, reference in REFERENCES["wholebody"].items():
        assert_reference(scores["keypoints" if part == "wholebody" else part], reference)
    means = [(scores["lefthand"][name] + scores["righthand"][name]) / 2 for name in scores["hands"]]
    np.testing.assert_array_equal(list(scores["hands"].values()), means)


def test_mpii_is_scored_as_its_program_does(root):
    people, mat, results = toys.mpii_case()
    write_mpii(root, people, mat)
    assert_reference(scores_of(root, "rle_mpii_val", results)["pckh"], REFERENCES["mpii"])


@pytest.mark.parametrize(
    "name", ["rle_ochuman_test", "rle_humanart_val", "rle_crowdpose_test", "rle_coco_wholebody_val"]
)
def test_labels_as_results_have_the_maximum(root, name):
    cases = {"rle_crowdpose_test": (CROWDPOSE_FILE, toys.crowdpose_case),
             "rle_coco_wholebody_val": (WHOLEBODY_FILE, toys.wholebody_case)}  # fmt: skip
    file, case = cases.get(name) or (OF_COCO[name], toys.coco_case)
    write(root, file, case()[0])
    scores = scores_of(root, name)
    tables = [
        "keypoints",
        *(part for part in ("body", "foot", "face", "lefthand", "righthand", "hands") if part in scores),
    ]
    assert len(tables) == (7 if name == "rle_coco_wholebody_val" else 1)
    for table in tables:
        values = [value for value in scores[table].values() if not math.isnan(value)]
        np.testing.assert_allclose(values, 100, atol=1e-9)
        assert len(values) >= 5


def test_labels_of_mpii_as_results_have_the_maximum(root):
    people, mat, _ = toys.mpii_case()
    for person, missing in zip(people[:2], mat["jnt_missing"]):  # one joint, and none
        kept = person["joints_vis"].index(1) if person is people[0] else -1
        person["joints_vis"] = [int(k == kept) for k in range(16)]
        missing[:] = [1 - flag for flag in person["joints_vis"]]
    write_mpii(root, people, mat)
    scores = scores_of(root, "rle_mpii_val")
    np.testing.assert_allclose(list(scores["pckh"].values()), 100)
    np.testing.assert_allclose(scores["keypoints"]["AP"], 100)
    assert "bbox" not in scores


def test_people_of_mpii_get_the_results_at_their_place(root):
    """Without ``annotation_id``: a result of a high score elsewhere, and a weak one at the place, take nobody's."""
    people, mat, _ = toys.mpii_case()
    write_mpii(root, people, mat)
    results = []
    for place, person in enumerate(people):
        (x, y), size = person["center"], 200 * person["scale"]
        joints = [
            [jx - 1, jy - 1, 1] if flag else [x - 1, y - 1, 1]
            for (jx, jy), flag in zip(person["joints"], person["joints_vis"])
        ]
        box = [x - 1 - size / 2, y - 1 - size / 2, size, size]
        image = place // 2 + 5
        flat = [value for joint in joints for value in joint]
        away = [value + 2000 * (k % 3 == 0) for k, value in enumerate(flat)]
        results.append({"image_id": image, "score": 0.6, "keypoints": flat, "bbox": box})
        results.append({"image_id": image, "score": 1.0, "keypoints": away, "bbox": [box[0] + 2000, *box[1:]]})
        results.append({"image_id": image, "score": 0.1, "keypoints": [0] * 48, "bbox": box})
    scores = scores_of(root, "rle_mpii_val", results)
    np.testing.assert_allclose(list(scores["pckh"].values()), 100)
    # Programs that crop each person say whose a result is: in all results or in none.
    with pytest.raises(DataError, match="35 results of 36 .* have no `annotation_id`, and others have"):
        scores_of(root, "rle_mpii_val", [{**results[0], "annotation_id": 1}, *results[1:]])
    # A person without a result is missed.
    results = [result for result in results if result["image_id"] != 5]
    half = scores_of(root, "rle_mpii_val", results)["pckh"]["PCKh"]
    kept = sum(sum(flags) - sum(flags[6:8]) for flags in (p["joints_vis"] for p in people[2:]))
    every = sum(sum(flags) - sum(flags[6:8]) for flags in (p["joints_vis"] for p in people))
    assert half == pytest.approx(100 * kept / every)


def test_evaluators_by_the_metadata_of_the_set(root):
    write(root, CROWDPOSE_FILE, toys.crowdpose_case()[0])
    people, mat, _ = toys.mpii_case()
    write_mpii(root, people, mat)
    joints = {"rle_crowdpose_test": 14, "rle_coco_wholebody_val": 133, "rle_mpii_val": 16, "rle_ochuman_val": 17}
    names = []
    for name, number in joints.items():
        cfg = load_config("", ["MODEL.RLE_ONESTAGE.NUM_KEYPOINTS", str(number), "MODEL.DEVICE", "cpu"])
        names.append(type(build_evaluator(cfg, name)).__name__)
        assert names[-1] in EVALUATOR_REGISTRY
    assert names == ["CrowdPoseEvaluator", "WholeBodyEvaluator", "MPIIEvaluator", "PoseEvaluator"]

    class Own(PoseEvaluator):
        """A user's."""

    cfg = load_config("", ["MODEL.RLE_ONESTAGE.NUM_KEYPOINTS", "14", "MODEL.DEVICE", "cpu"])
    assert type(Own.from_config(cfg, "rle_crowdpose_test")) is Own


@pytest.mark.parametrize(
    "name, case",
    [("rle_crowdpose_test", toys.crowdpose_case), ("rle_coco_wholebody_val", toys.wholebody_case),
     ("rle_mpii_val", toys.mpii_case), ("rle_ochuman_test", toys.coco_case)],
)  # fmt: skip
def test_metrics_that_are_expected_are_those_that_come(root, name, case):
    content = case()
    if name == "rle_mpii_val":
        write_mpii(root, *content[:2])
    else:
        files = {"rle_crowdpose_test": CROWDPOSE_FILE, "rle_coco_wholebody_val": WHOLEBODY_FILE, **OF_COCO}
        write(root, files[name], content[0])
    results = [{**result, "bbox": _extent(result)} for result in content[-1]]
    scores = scores_of(root, name, results)
    known = known_metrics(name)
    others = ("oks_sigmas", "table", "best_match")
    assert {table: tuple(scores[table]) for table in scores if table not in others} == known
    joints = ["MODEL.RLE_ONESTAGE.NUM_KEYPOINTS", "17", "MODEL.DEVICE", "cpu"]
    rows = [[table, metrics[0], 0, 1] for table, metrics in known.items()]
    cfg = load_config("", [*joints, "DATASETS.TEST", name, "TEST.EXPECTED_RESULTS", repr(rows)])
    check_expected_names(cfg)
    wrong = load_config("", [*joints, "DATASETS.TEST", name, "TEST.EXPECTED_RESULTS", "[['keypoints', 'APx', 0, 1]]"])
    with pytest.raises(ConfigError, match=f"choose one of .*{known['keypoints'][-1]}"):
        check_expected_names(wrong)


def test_an_evaluator_scores_as_the_command(root):
    dataset, results = toys.crowdpose_case()
    write(root, CROWDPOSE_FILE, dataset)
    by_command = scores_of(root, "rle_crowdpose_test", results)["keypoints"]
    cfg = load_config(
        "", ["MODEL.RLE_ONESTAGE.NUM_KEYPOINTS", "14", "OUTPUT_DIR", str(root / "out"), "MODEL.DEVICE", "cpu"]
    )
    evaluator = build_evaluator(cfg, "rle_crowdpose_test")
    evaluator._image_ids = [image["id"] for image in dataset["images"]]
    evaluator._results = [{**result, "bbox": _extent(result)} for result in results]
    scores = evaluator.evaluate()
    np.testing.assert_allclose(list(scores["keypoints"].values()), list(by_command.values()))
    assert {"bbox", "per_joint", "best_match"} <= set(scores)


def _extent(result):
    x, y = result["keypoints"][0::3], result["keypoints"][1::3]
    return [min(x), min(y), max(x) - min(x), max(y) - min(y)]


def test_results_of_133_joints_in_one_list_are_the_same(root):
    dataset, results = toys.wholebody_case()
    write(root, WHOLEBODY_FILE, dataset)
    whole = []
    for result in results:
        joined = [value for key, _ in toys.PARTS for value in result[key]]
        whole.append({**{k: v for k, v in result.items() if not k.endswith("_kpts")}, "keypoints": joined})
    both = [scores_of(root, "rle_coco_wholebody_val", each) for each in (results, whole)]
    assert json.dumps(both[0]) == json.dumps(both[1])


def sentence_of(capsys, *words):
    """The one sentence that a command ends with."""
    with pytest.raises(SystemExit) as end:
        cli.main(["evaluate", *words])
    error = capsys.readouterr().err.strip().split("\n")[-1]
    assert end.value.code == 2 and error.startswith("error: ")
    return error


def test_results_of_another_skeleton_or_set_are_one_sentence(root, capsys):
    write(root, CROWDPOSE_FILE, toys.crowdpose_case()[0])
    write(root, WHOLEBODY_FILE, toys.wholebody_case()[0])
    coco = toys.coco_case()[1]
    given = ["--results", write(root, "results.json", coco), "--dataset"]
    assert "17 joints in `keypoints`, but" in sentence_of(capsys, *given, "rle_crowdpose_test")
    assert "has 17 joints" in sentence_of(capsys, *given, "rle_coco_wholebody_val")
    part = {**toys.wholebody_case()[1][0]}
    del part["face_kpts"]
    write(root, "results.json", [part])
    assert "`face_kpts` is missing, but must have 204 numbers" in sentence_of(capsys, *given, "rle_coco_wholebody_val")
    other = [{**result, "image_id": 999} for result in toys.crowdpose_case()[1]]
    write(root, "results.json", other)
    assert "are of images that" in sentence_of(capsys, *given, "rle_crowdpose_test")
    assert "there is no data set 'rle_crowdpose_tset'; did you mean rle_crowdpose_test?" in sentence_of(
        capsys, *given, "rle_crowdpose_tset"
    )
    assert "rle_ochuman_val' was not found: there is no annotation file" in sentence_of(
        capsys, *given, "rle_ochuman_val"
    )


def test_a_file_of_labels_is_scored_by_its_layout(root, capsys):
    people, mat, results = toys.mpii_case()
    labels = write_mpii(root, people, mat)
    given = ["--results", write(root, "results.json", results), "--json", str(root / "scores.json")]
    cli.main(["evaluate", *given, "--annotations", f"{labels}:mpii"])
    assert_reference(json.loads((root / "scores.json").read_text())["pckh"], REFERENCES["mpii"])
    assert "pckh:" in capsys.readouterr().out
    assert "mpii_tran.json does not exist" in sentence_of(
        capsys, *given, "--annotations", f"{root}/mpii_tran.json:mpii"
    )
    write(root, "results.json", toys.coco_case()[1])
    assert "17 joints in `keypoints`, but" in sentence_of(capsys, *given, "--annotations", f"{labels}:mpii")


def test_a_set_of_ones_own_is_scored_as_a_benchmark(root):
    """CrowdPose's file at another place: the option ``scored_as`` of the set, in a config."""
    dataset, results = toys.crowdpose_case()
    dataset["categories"][0]["keypoints"] = list(CROWDPOSE.names)
    labels = write(root, "own/crowd.json", dataset)
    config = write(root, "config.yaml", {
        "VERSION": 2, "DATASETS": {"TEST": ["own_crowd"], "KEYPOINT_FILES": [
            ["own_crowd", labels, str(root), {"scored_as": "crowdpose"}]]},
    })  # fmt: skip
    given = ["--results", write(root, "results.json", results), "--json", str(root / "scores.json")]
    cli.main(["evaluate", *given, "--config-file", config])
    assert_reference(json.loads((root / "scores.json").read_text())["keypoints"], REFERENCES["crowdpose"])


@pytest.mark.parametrize(
    "scored_as, sentence", [("mpii", "is not in MPII's layout"), ("coco_wholebody", "of 133; give")]
)
def test_a_set_that_cannot_be_scored_so_is_one_sentence(root, scored_as, sentence):
    dataset, results = toys.crowdpose_case()
    labels = write(root, "crowd.json", dataset)
    options = {"scored_as": scored_as}
    load = ["DATASETS.KEYPOINT_FILES", repr([[f"as_{scored_as}", labels, str(root), options]]), "MODEL.DEVICE", "cpu"]
    register_from_config(load_config("", load))
    with pytest.raises(DataError, match=sentence):
        scores_of(root, f"as_{scored_as}", results)


def test_a_file_of_another_set_under_a_name_is_one_sentence(root):
    write(root, CROWDPOSE_FILE, toys.coco_case()[0])
    with pytest.raises(
        DataError, match="has 17 joints, but data set 'rle_crowdpose_test' has 14; put the file of this"
    ):
        scores_of(root, "rle_crowdpose_test", toys.coco_case()[1])


def test_images_without_a_crowd_index_are_said(root, caplog):
    dataset, results = toys.crowdpose_case()
    for image in dataset["images"][1:]:
        del image["crowdIndex"]
    dataset["images"][0]["crowdIndex"] = 0.9
    write(root, CROWDPOSE_FILE, dataset)
    with caplog.at_level(logging.WARNING):
        found = scores_of(root, "rle_crowdpose_test", results)["keypoints"]
    assert "23 of 24 images have no number `crowdIndex`" in caplog.text
    assert math.isnan(found["APeasy"]) and found["AP"] == pytest.approx(REFERENCES["crowdpose"]["AP"])


def test_another_layout_of_mpii_is_said(root, caplog):
    people, mat, results = toys.mpii_case()
    write(root, "mpii/annotations/mpii_val.json", people)
    with caplog.at_level(logging.WARNING):
        assert "pckh" not in scores_of(root, "rle_mpii_val", results)
    assert "mpii_gt_val.mat is not there, so PCKh is not computed" in caplog.text
    write_mpii(root, people[:-1], mat)
    with pytest.raises(
        DataError, match=r"`jnt_missing` has the shape \(16, 12\), but must have \(16, 11\) for 11 people"
    ):
        scores_of(root, "rle_mpii_val", results[:-1])
    write(root, "mpii/annotations/mpii_val.json", people)
    (root / "mpii/annotations/mpii_gt_val.mat").write_bytes(b"no matrix")
    with pytest.raises(DataError, match="mpii_gt_val.mat cannot be read as a Matlab file"):
        scores_of(root, "rle_mpii_val", results)


def test_skeletons_of_the_sets_are_those_of_the_references(root):
    assert list(CROWDPOSE.oks_sigmas) == toys.CROWDPOSE_SIGMAS and list(COCO.oks_sigmas) == toys.COCO_SIGMAS
    assert [number for _, number in toys.PARTS] == [17, 6, 68, 21, 21] and WHOLEBODY.num_joints == 133
