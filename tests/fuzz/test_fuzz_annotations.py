"""Damaged annotation files: training and evaluation accept them alike, or say one sentence; both backends agree."""

import json
import os

import numpy as np
import pytest
from data_toys import make_config
from fuzz_toys import ENCODINGS, SIGMAS, answer, both_figures, content, fair_campaign, files, nested
from hypothesis import given
from hypothesis import strategies as st

from rle_onestage.data import category_cache, datasets, load_coco_keypoints, load_training_records
from rle_onestage.data.people import read_people
from rle_onestage.errors import PoseError
from rle_onestage.evaluation import GroundTruth, ground_truth_as_predictions
from rle_onestage.structures.skeleton import skeleton_from_category


class Place:
    """A folder whose annotation file every example writes anew, and a config that trains on it."""

    def __init__(self, path, cfg):
        self.path, self.cfg, self.folder = str(path), cfg, os.path.join(os.path.dirname(path), "images")
        self.refused = []

    def __repr__(self):
        return self.path  # the config is long

    def write(self, data):
        with open(self.path, "wb") as file:
            file.write(data)
        category_cache._found.clear()  # files follow each other faster than the clock of the file system


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("fuzz")
    (root / "images").mkdir()
    path = root / "set.json"
    cfg = make_config(
        DATASETS__KEYPOINT_FILES=[["fuzz", str(path), str(root / "images")]], DATASETS__TRAIN=("fuzz",),
        DATASETS__TEST=(), MODEL__RLE_ONESTAGE__NUM_KEYPOINTS=3,
    )  # fmt: skip
    return Place(path, cfg)


def sigmas_of(truth):
    return np.resize(SIGMAS, truth.num_joints)


def check_agreement(records, truth, noise):
    """Training and evaluation have the same people; labels as predictions give 100; both backends agree on others."""
    taught = {a["id"]: (r["image_id"], a) for r in records for a in r["annotations"]}
    assert len(taught) == len(truth.annotations)
    for other in truth.annotations:
        image_id, a = taught[other.get("file_id", other["id"])]
        assert image_id == other["image_id"] and a["bbox"] == other["bbox"] and a["area"] == other["area"] > 0
        assert a["iscrowd"] == other["iscrowd"] and np.isfinite(a["keypoints"]).all()
        assert np.allclose(np.reshape(a["keypoints"], (-1, 3)) - [0.5, 0.5, 0], np.reshape(other["keypoints"], (-1, 3)))
    results = ground_truth_as_predictions(truth)
    perfect = both_figures(truth, results, sigmas_of(truth))
    for iou_type, figures in perfect.items():
        counted = [a for a in truth.annotations if not a["iscrowd"] and (iou_type == "bbox" or a["num_keypoints"])]
        assert figures["AP"] == (pytest.approx(100) if counted else pytest.approx(np.nan, nan_ok=True)), iou_type
    rng = np.random.default_rng(noise)
    for result in results:
        result["keypoints"] = (np.array(result["keypoints"]) + rng.normal(0, 3, len(result["keypoints"]))).tolist()
        result["bbox"] = (np.array(result["bbox"]) * rng.uniform(0.8, 1.2, 4)).tolist()
        result["score"] = round(rng.random(), 1)
    both_figures(truth, results, sigmas_of(truth))


@given(data=files(content), noise=st.integers(0, 9))
def damaged_file(place, data, noise):
    path, folder = place.path, place.folder
    place.write(data)
    category = answer(lambda: datasets.category_of(path, "fuzz"))
    taught = answer(lambda: load_coco_keypoints(path, folder))
    place.refused.append(isinstance(taught, PoseError))
    if isinstance(category, PoseError):
        assert isinstance(taught, PoseError)
        return
    assert skeleton_from_category(category).num_joints == len(category["keypoints"])
    truth = answer(lambda: GroundTruth.from_file(path, len(category["keypoints"]), folder))
    assert isinstance(taught, PoseError) == isinstance(truth, PoseError), (taught, truth)
    training = answer(lambda: load_training_records(place.cfg))
    if isinstance(truth, PoseError):
        assert isinstance(training, PoseError) and str(taught) == str(truth)
        return
    check_agreement(taught[0], truth, noise)
    if not isinstance(training, PoseError):
        for record in training.records:
            people = read_people(record, training.rules[record["dataset_name"]])
            assert all(np.isfinite(column).all() for column in people if column is not None) and (people.area > 0).all()


def test_damaged_files_are_accepted_on_both_sides_or_named_in_a_sentence(place):
    with fair_campaign() as place.refused:
        damaged_file(place)


def _text_ids(value):
    for image in value["images"]:
        image["id"] = f"i{image['id']}"
    for annotation in value["annotations"]:
        annotation.update(image_id=f"i{annotation['image_id']}", id=f"a{annotation['id']}")


def _fractions(value):
    for image in value["images"]:
        image["id"] += 0.5
    for annotation in value["annotations"]:
        annotation["image_id"] += 0.5


def _two_classes(value):
    value["categories"].append({**value["categories"][0], "id": 7, "name": "dog"})
    value["annotations"][0]["category_id"] = 7


def _unlabelled_as_null(value):
    for annotation in value["annotations"]:
        points = np.reshape(annotation["keypoints"], (-1, 3)).tolist()
        annotation["keypoints"] = [v for x, y, f in points for v in ((x, y, f) if f else (None, None, 0))]


def _triples(value):
    for annotation in value["annotations"]:
        annotation["keypoints"] = np.reshape(annotation["keypoints"], (-1, 3)).tolist()


def _each(**fields):
    def change(value):
        for annotation in value["annotations"]:
            annotation.update({k: v(annotation) if callable(v) else v for k, v in fields.items()})

    return change


def _category(**fields):
    return lambda value: value["categories"][0].update(fields)


def _backslashes(value):
    for image in value["images"]:
        image["file_name"] = image["file_name"].replace("/", "\\")


# Other ways of writing the same file; each stands in one that some program writes.
WAYS = {
    "text ids": _text_ids, "fractions as ids": _fractions, "two classes": _two_classes,
    "null for unlabelled": _unlabelled_as_null, "triples": _triples, "backslashes": _backslashes,
    "area as text": _each(area=lambda a: str(a["area"])), "no count": _each(num_keypoints=None),
    "count 0": _each(num_keypoints=0), "crowd as text": _each(iscrowd=lambda a: "true" if a["iscrowd"] else "false"),
    "category null": _each(category_id=None), "names by number": _category(keypoints={"0": "nose", "1": "left_paw",
                                                                                       "2": "right_paw"}),
    "numbers by name": _category(keypoints={"right_paw": 3, "nose": 1, "left_paw": 2}),
    "limbs from 0": _category(skeleton=[[0, 1], [0, 2]]),
    "limbs by name": _category(skeleton=[["nose", "left_paw"], ["nose", "right_paw"]]),
    "limbs as text": _category(skeleton="1-2"), "no category id": lambda value: value["categories"][0].pop("id"),
}  # fmt: skip

# Of these pairs the second cannot stand beside the first.
EITHER = [("two classes", "no category id"), ("text ids", "fractions as ids")]


@given(ways=st.sets(st.sampled_from(sorted(WAYS)), max_size=6), encoding=st.sampled_from(ENCODINGS))
def other_ways(place, ways, encoding):
    path = place.path
    plain = GroundTruth(dataset=content(), num_joints=3)
    value = content()
    for way in sorted(ways, key=list(WAYS).index):
        if not any(way == second and first in ways for first, second in EITHER):
            WAYS[way](value)
    place.write(json.dumps(value).encode(encoding))
    records, _ = load_coco_keypoints(path, place.folder)
    truth = GroundTruth.from_file(path, 3)
    skeleton = skeleton_from_category(datasets.category_of(path, "fuzz"))
    assert skeleton.names == ("nose", "left_paw", "right_paw") and skeleton.flip_pairs == ((1, 2),)
    assert skeleton.limbs == (() if "limbs as text" in ways else ((0, 1), (0, 2)))
    assert [r["file_name"].split("/")[-2:] for r in records] == [["sub", f"00{i}.jpg"] for i in (1, 2, 3)]
    for mine, its in zip(plain.annotations, truth.annotations, strict=True):
        assert all(mine[k] == its[k] for k in ("bbox", "area", "iscrowd", "num_keypoints"))
        points, other = (np.reshape(a["keypoints"], (-1, 3)) for a in (mine, its))
        assert (points[:, 2] == other[:, 2]).all() and (points[points[:, 2] > 0] == other[points[:, 2] > 0]).all()
    check_agreement(records, truth, noise=0)


def test_other_ways_to_write_a_file_are_the_same_file(place):
    other_ways(place)


def test_one_person_whose_joints_are_some_of_anothers_is_matched_with_itself():
    value = content()
    first = value["annotations"][0]
    # The first of the two has the joint that nobody labelled where the other's is labelled.
    for number, joint, coordinates in ((50, 2, []), (51, 1, [0, 0])):
        points = np.reshape(first["keypoints"], (-1, 3)).tolist()
        points[joint] = [*(coordinates or points[joint][:2]), 0]
        value["annotations"].append({**first, "id": number, "keypoints": sum(points, [])})
    truth = GroundTruth(dataset=value, num_joints=3)
    assert both_figures(truth, ground_truth_as_predictions(truth), SIGMAS)["keypoints"]["AP"] == pytest.approx(100)


def test_a_message_stays_short_and_can_be_printed(place):
    path = place.path
    for odd in ("\ud800" * 9, "x" * 10**6, nested(300), list(range(10**5)), 10**4000):
        for change in (lambda v, odd=odd: v["images"][0].update(file_name=odd, width=0),
                       lambda v, odd=odd: v["annotations"][0].update(image_id=odd),
                       lambda v, odd=odd: v["annotations"][0].update(bbox=odd),
                       lambda v, odd=odd: v["categories"][0].update(keypoints=[odd, odd])):  # fmt: skip
            value = content()
            change(value)
            place.write(json.dumps(value).encode())
            assert isinstance(answer(lambda: load_coco_keypoints(path, place.folder)), PoseError)
