"""Metrics from kept matches are pycocotools', for all images and for any choice of them."""

import json

import numpy as np
import pytest
from people_study.bootstrap import compare, draw_images
from people_study.labels import read_set, together
from people_study.matching import COCO_AREAS, match, metrics
from people_toys import random_set, without_ties

from rle_onestage.errors import ConfigError
from rle_onestage.evaluation import coco_metrics


def pycocotools(labelled, results):
    """The same metrics by COCOeval.accumulate."""
    bare = [{k: v for k, v in r.items() if k != "bbox"} for r in results]
    found = coco_metrics(labelled.truth.dataset, bare, "keypoints", labelled.skeleton.oks_sigmas, backend="pycocotools")
    return {name: found[name] for name in ("AP", "AP50", "AP75", "AR", "APm", "APl")}


def repeated(labelled, results, weights, folder):
    """The set with each image as often as its weight says, written out, and its results."""
    images, annotations, found = [], [], []
    for image_id, weight in zip(sorted(labelled.truth.images), weights):
        for _ in range(int(weight)):
            number = len(images) + 1
            images.append({**labelled.truth.images[image_id], "id": number})
            for a in labelled.truth.annotations:
                if a["image_id"] == image_id:
                    annotations.append({**a, "id": len(annotations) + 1, "image_id": number})
            found += [{**r, "image_id": number} for r in results if r["image_id"] == image_id]
    categories = [{"id": 1, "name": "person", "keypoints": list(labelled.skeleton.names)}]
    path = folder / "repeated.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return read_set("repeated", str(path)), found


@pytest.mark.parametrize("seed", range(4))
def test_every_image_once_gives_pycocotools_figures_with_ties_and_crowds(tmp_path, seed):
    labelled, results = random_set(tmp_path, seed=seed)
    own = metrics(match(labelled, results))
    for name, value in pycocotools(labelled, results).items():
        assert own[name] == pytest.approx(value, abs=1e-9, nan_ok=True), name


@pytest.mark.parametrize("seed", range(3))
def test_weights_give_the_figures_of_images_repeated_and_left_out(tmp_path, seed):
    labelled, results = random_set(tmp_path, seed=seed)
    results = without_ties(results)
    (weights,) = draw_images(len(labelled.truth.images), 1, seed)
    assert weights.sum() == len(weights) and weights.min() == 0 and weights.max() > 1
    own = metrics(match(labelled, results), weights, tuple(COCO_AREAS))
    other = pycocotools(*repeated(labelled, results, weights, tmp_path))
    assert dict(own) == pytest.approx(other, abs=1e-9, nan_ok=True)


def test_a_model_without_results_has_zero_and_a_set_without_people_nothing(tmp_path):
    labelled, _ = random_set(tmp_path)
    assert metrics(match(labelled, []), areas=("all",)) == {"AP": 0.0, "AP50": 0.0, "AP75": 0.0, "AR": 0.0}
    nobody = labelled._replace(truth=labelled.truth.subset([]))
    assert all(np.isnan(v) for v in metrics(match(nobody, [])).values())


def test_two_sets_as_one_keep_their_own_images_where_ids_are_the_same(tmp_path):
    first, found = random_set(tmp_path, seed=0)
    second, other = random_set(tmp_path, seed=1)
    assert set(first.truth.images) == set(second.truth.images)  # that is the difficulty
    both = together([first, second])
    assert len(both.labelled.truth.images) == len(first.truth.images) + len(second.truth.images)
    matching = match(both.labelled, both.results({first.name: found, second.name: other}))
    weights = np.array([both.labelled.truth.images[i]["set"] == first.name for i in matching.image_ids], dtype=float)
    assert metrics(matching, weights) == pytest.approx(metrics(match(first, found)), nan_ok=True)
    with pytest.raises(ConfigError, match="two sets are called set0"):
        together([first, first])


def test_the_bootstrap_of_a_model_against_itself_is_zero_and_a_worse_one_is_behind(tmp_path):
    labelled, results = random_set(tmp_path, images=30)
    rng = np.random.default_rng(0)
    worse = [{**r, "score": float(rng.random())} for r in results if rng.random() < 0.6]
    models = {"base": match(labelled, results), "same": match(labelled, results), "worse": match(labelled, worse)}
    table = compare(models, "base", resamples=200)
    assert table["same"]["AP"]["difference_interval"] == [0, 0] and table["same"]["AP"]["above"] == 0
    low, high = table["base"]["AP"]["interval"]
    assert low < table["base"]["AP"]["value"] < high
    assert table["worse"]["AR"]["difference_interval"][1] < 0
    assert table["worse"]["AR"]["difference"] == pytest.approx(
        table["worse"]["AR"]["value"] - table["base"]["AR"]["value"]
    )
    # Paired: the difference is known better than by intervals of each alone.
    difference = np.ptp(table["worse"]["AR"]["difference_interval"])
    assert difference < np.hypot(*(np.ptp(table[name]["AR"]["interval"]) for name in ("base", "worse")))
    assert compare(models, "base", resamples=50, seed=1) == compare(models, "base", resamples=50, seed=1)


def test_models_on_different_images_are_not_compared(tmp_path):
    labelled, results = random_set(tmp_path)
    part = labelled._replace(truth=labelled.truth.subset(list(labelled.truth.images)[:5]))
    some = [r for r in results if r["image_id"] in part.truth.images]
    with pytest.raises(ConfigError, match="other images"):
        compare({"a": match(labelled, results), "b": match(part, some)}, "a")
