"""COCO evaluation: the metrics of pycocotools, every image once, ground truth as predictions."""

import contextlib
import copy
import io
import json
import math
import os

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.structures import Boxes, Instances
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from rle_onestage.errors import ConfigError, DataError
from rle_onestage.evaluation import (
    GroundTruth,
    PoseEvaluator,
    coco_metrics,
    ground_truth_as_predictions,
    instances_to_coco,
    read_results,
)
from rle_onestage.evaluation.metrics import random_case
from rle_onestage.structures.skeleton import COCO as COCO17
from rle_onestage.structures.skeleton import Skeleton

REAL = os.path.join(os.path.dirname(__file__), "..", "..", "..", "shared", "data")


def skeleton_of(num_joints):
    names = tuple(f"joint{i}" for i in range(num_joints))
    return Skeleton("test", names, (), (), tuple(np.linspace(0.03, 0.1, num_joints)))


def with_category(dataset, num_joints):
    category = {"id": 1, "name": "person", "keypoints": list(skeleton_of(num_joints).names)}
    return {**dataset, "categories": [category]}


def stats_of_pycocotools(json_file, results, iou_type, sigmas, tmp_path):
    """What a user who runs pycocotools on our files sees."""
    results_file = tmp_path / "results.json"
    results_file.write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(json_file))
        evaluation = COCOeval(truth, truth.loadRes(str(results_file)), iou_type)
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = evaluation.stats * 100
    stats[stats < 0] = math.nan
    return stats


@pytest.fixture
def registered(tmp_path):
    """A function that writes a random set and registers its metadata."""
    names = []

    def make(seed=0, num_images=8, num_joints=14, change=None):
        dataset, results = random_case(seed=seed, num_images=num_images, num_joints=num_joints)
        dataset = with_category(dataset, num_joints)
        if change:
            change(dataset)
        path = tmp_path / f"set{len(names)}.json"
        path.write_text(json.dumps(dataset))
        names.append(f"test_evaluation_{seed}_{num_images}_{num_joints}_{len(names)}")
        MetadataCatalog.get(names[-1]).set(json_file=str(path), skeleton=skeleton_of(num_joints))
        return names[-1], dataset, results

    yield make
    for name in names:
        MetadataCatalog.pop(name)


def instances_of(results, num_joints):
    """Results as a model would have given them."""
    out = Instances((480, 640))
    boxes = torch.tensor([r["bbox"] for r in results], dtype=torch.float64).reshape(-1, 4)
    out.pred_boxes = Boxes(torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1))
    out.scores = torch.tensor([r["score"] for r in results], dtype=torch.float64)
    keypoints = torch.tensor([r["keypoints"] for r in results], dtype=torch.float64).reshape(-1, num_joints, 3)
    out.pred_keypoints = keypoints + torch.tensor([0.5, 0.5, 0.0])
    out.pred_keypoint_sigmas = torch.ones(len(results), num_joints, 2)
    out.pred_keypoint_presence = torch.ones(len(results), num_joints)
    return out


def feed(evaluator, dataset, results, num_joints):
    for image in dataset["images"]:
        own = [r for r in results if r["image_id"] == image["id"]]
        evaluator.process([{"image_id": image["id"]}], [{"instances": instances_of(own, num_joints)}])


@pytest.mark.parametrize("backend", ["pycocotools", "faster", "auto"])
@pytest.mark.parametrize("seed, num_images, num_joints", [(0, 25, 17), (1, 25, 14), (2, 1, 17), (3, 60, 5)])
def test_metrics_equal_pycocotools(backend, seed, num_images, num_joints, tmp_path):
    if backend == "faster":
        pytest.importorskip("faster_coco_eval")
    dataset, results = random_case(seed=seed, num_images=num_images, num_joints=num_joints)
    sigmas = np.linspace(0.02, 0.11, num_joints)
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(dataset))
    before = copy.deepcopy((dataset, results))
    for iou_type, order in (("bbox", [0, 1, 2, 3, 4, 5, 8]), ("keypoints", range(10))):
        ours = coco_metrics(dataset, results, iou_type, sigmas, backend=backend)
        theirs = stats_of_pycocotools(path, results, iou_type, sigmas, tmp_path)[list(order)]
        np.testing.assert_allclose(list(ours.values()), theirs, atol=1e-6, equal_nan=True)
    assert (dataset, results) == before


def test_evaluator_equals_pycocotools_on_its_own_file(registered, tmp_path):
    name, dataset, results = registered(seed=5, num_images=20)
    evaluator = PoseEvaluator(name, output_dir=str(tmp_path / "inference"))
    feed(evaluator, dataset, results, 14)
    scores = evaluator.evaluate()
    written = read_results(tmp_path / "inference" / "coco_instances_results.json")
    assert (tmp_path / "inference" / "coco_instances_results_joints.json").exists()
    assert len(written) == len(results)
    assert {"keypoint_sigmas", "keypoint_presence", "bbox", "score", "keypoints"} <= set(written[0])
    stats = stats_of_pycocotools(
        MetadataCatalog.get(name).json_file, written, "keypoints", skeleton_of(14).oks_sigmas, tmp_path
    )
    np.testing.assert_allclose(list(scores["keypoints"].values()), stats, atol=1e-6)
    direct = coco_metrics(dataset, results, "keypoints", skeleton_of(14).oks_sigmas)
    np.testing.assert_allclose(list(scores["keypoints"].values()), list(direct.values()), atol=1e-6)
    assert all(isinstance(v, (int, float)) for group in scores.values() for v in group.values())


def test_sigmas_can_be_overridden(registered):
    name, dataset, results = registered(seed=6)
    metrics = []
    for sigmas in ((), [0.01] * 14):
        evaluator = PoseEvaluator(name, oks_sigmas=sigmas)
        feed(evaluator, dataset, results, 14)
        metrics.append(evaluator.evaluate()["keypoints"]["AP"])
    assert metrics[1] < metrics[0]
    with pytest.raises(ConfigError, match="14 joints"):
        PoseEvaluator(name, oks_sigmas=[0.1] * 17)


@pytest.mark.parametrize("moved, warned", [((), 0), ((3,), 1), (range(14), 1)])
def test_joints_that_are_surer_than_right_are_one_warning(registered, caplog, moved, warned):
    name, dataset, _ = registered(seed=6)
    results = ground_truth_as_predictions(GroundTruth(dataset=dataset, num_joints=14))
    for result in results:
        keypoints = np.reshape(result["keypoints"], (14, 3)).astype(float)
        keypoints[list(moved), 0] += 10 + np.array(list(moved), dtype=float)  # of a sigma of 1 pixel
        result["keypoints"] = keypoints.ravel().tolist()
    evaluator = PoseEvaluator(name)
    feed(evaluator, dataset, results, 14)
    evaluator.evaluate()
    said = [r.getMessage() for r in caplog.records if "surer than right" in r.getMessage() and r.levelname == "WARNING"]
    assert len(said) == warned
    names = skeleton_of(14).names
    if moved == (3,):
        assert f"Far surer than right: 1 of 14 joints (residual/sigma above 3: {names[3]} 9.2). " in said[0]
        assert "train longer" in said[0] and "rle-onestage calibrate" in said[0]
    elif moved:
        assert f"surer than right: 14 of 14 joints (residual/sigma above 3: {names[13]} 16.3, " in said[0]
        assert f"{names[6]} 11.3, ..." in said[0] and f"{names[5]} " not in said[0]


def test_zero_predictions_give_zero_and_no_crash(registered):
    name, dataset, _ = registered(seed=7)
    evaluator = PoseEvaluator(name)
    feed(evaluator, dataset, [], 14)
    scores = evaluator.evaluate()
    assert scores["bbox"]["AP"] == 0 and scores["keypoints"]["AP"] == 0 and scores["best_match"]["OKS"] == 0


def test_set_without_people_gives_nan(registered):
    name, dataset, results = registered(seed=8, change=lambda d: d["annotations"].clear())
    evaluator = PoseEvaluator(name)
    feed(evaluator, dataset, results, 14)
    assert math.isnan(evaluator.evaluate()["keypoints"]["AP"])


def test_each_image_counts_once(registered):
    name, dataset, results = registered(seed=9)
    evaluator = PoseEvaluator(name)
    feed(evaluator, dataset, results, 14)
    feed(evaluator, {"images": dataset["images"][:1]}, [], 14)
    with pytest.raises(DataError, match=f"more than once.*{dataset['images'][0]['id']}"):
        evaluator.evaluate()
    evaluator.reset()
    feed(evaluator, {"images": [{"id": 123456}]}, [], 14)
    with pytest.raises(DataError, match="123456"):
        evaluator.evaluate()


def test_images_that_were_not_evaluated_count_as_misses(registered, caplog):
    name, dataset, _ = registered(seed=10)
    perfect = ground_truth_as_predictions(GroundTruth(dataset=dataset, num_joints=14))
    half = dataset["images"][:4]
    evaluator = PoseEvaluator(name)
    feed(evaluator, {"images": half}, perfect, 14)
    assert evaluator.evaluate()["keypoints"]["AP"] < 99
    assert "4 of the 8 images" in caplog.text
    assert evaluator.evaluate(img_ids=[i["id"] for i in half])["keypoints"]["AP"] == pytest.approx(100)


def test_set_without_labels_is_written_only(registered, tmp_path):
    name, dataset, results = registered(seed=11, change=lambda d: d.pop("annotations"))
    evaluator = PoseEvaluator(name, output_dir=str(tmp_path / "out"))
    feed(evaluator, dataset, results, 14)
    assert evaluator.evaluate() == {}
    assert len(read_results(tmp_path / "out" / "coco_instances_results.json")) == len(results)


@pytest.mark.parametrize("num_joints", [14, 17])
def test_ground_truth_as_predictions_is_perfect(registered, num_joints):
    name, dataset, _ = registered(seed=12, num_images=20, num_joints=num_joints)
    perfect = ground_truth_as_predictions(GroundTruth(dataset=dataset, num_joints=num_joints))
    evaluator = PoseEvaluator(name)
    feed(evaluator, dataset, perfect, num_joints)
    scores = evaluator.evaluate()
    assert scores["bbox"]["AP"] == pytest.approx(100) and scores["keypoints"]["AP"] == pytest.approx(100)
    assert scores["best_match"]["OKS75"] == pytest.approx(100)
    assert scores["per_joint"]["median_px"] == pytest.approx(0, abs=1e-3)


@pytest.mark.skipif(not os.path.isdir(REAL), reason="real photographs are not here")
@pytest.mark.parametrize("name, num_joints", [("coco_micro", 17), ("lspet", 14)])
def test_ground_truth_of_real_sets_is_perfect(name, num_joints):
    truth = GroundTruth.from_file(os.path.join(REAL, name, "annotations", "person_keypoints_val.json"), num_joints)
    sigmas = COCO17.oks_sigmas if num_joints == 17 else [0.08] * 14
    for iou_type in ("bbox", "keypoints"):
        metrics = coco_metrics(truth.dataset, ground_truth_as_predictions(truth), iou_type, sigmas)
        assert metrics["AP"] == pytest.approx(100), iou_type


def test_file_without_optional_fields_is_completed(caplog):
    joints = [[10, 10, 2], [30, 50, 1], [0, 0, 0]]
    person = {"id": 0, "image_id": 1, "bbox": [5, 5, 40, 60], "keypoints": sum(joints, [])}
    category = {"id": 7, "name": "person", "keypoints": ["a", "b", "c"]}
    dataset = {"images": [{"id": 1, "file_name": "x.jpg"}], "annotations": [person], "categories": [category]}
    truth = GroundTruth(dataset=dataset, num_joints=3, source="mine.json")
    assert truth.annotations[0]["area"] == pytest.approx(0.53 * 2400)
    # The id 0 would silently count as a miss in COCO's matching.
    assert "renumbered" in caplog.text and "mine.json" in caplog.text
    metrics = coco_metrics(truth.dataset, ground_truth_as_predictions(truth), "keypoints", [0.08] * 3)
    assert metrics["AP"] == pytest.approx(100)


def test_bad_files_are_named(tmp_path, registered):
    with pytest.raises(DataError, match="nowhere.json"):
        GroundTruth.from_file(str(tmp_path / "nowhere.json"), 17)
    name, _, _ = registered(num_joints=5)
    with pytest.raises(DataError, match="5 joints.*NUM_KEYPOINTS"):
        GroundTruth.from_file(MetadataCatalog.get(name).json_file, 17)
    broken = tmp_path / "broken.json"
    broken.write_text("[1, 2")
    with pytest.raises(DataError, match="broken.json"):
        read_results(broken)


def test_results_are_pixel_indices():
    results = [{"bbox": [1, 2, 3, 4], "score": 0.5, "keypoints": [10.0, 20.0, 0.7]}]
    out = instances_to_coco(instances_of(results, 1), image_id=3)
    assert out[0]["keypoints"] == pytest.approx([10.0, 20.0, 0.7]) and out[0]["bbox"] == [1, 2, 3, 4]
    assert instances_to_coco(instances_of([], 1), image_id=3) == []
