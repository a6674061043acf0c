"""One reader for training and evaluation: both see the same people, and both backends of COCO give the same figures."""

import json
import logging
import random
import re

import numpy as np
import pytest
from data_toys import person, toy_config, toy_content, write_set

from rle_onestage.data import load_coco_keypoints, load_training_records
from rle_onestage.errors import DataError
from rle_onestage.evaluation import GroundTruth, coco_metrics, ground_truth_as_predictions
from rle_onestage.evaluation.metrics import METRICS, for_coco
from rle_onestage.evaluation.ranking import Ranking
from rle_onestage.structures.boxes import AREA_OF_BOX
from rle_onestage.structures.skeleton import COCO


def content_of(*people, **image):
    """One image of 80 x 60 with these people."""
    content = toy_content(1)
    content["images"][0].update(id=1, **image)
    content["annotations"] = [{**p, "image_id": 1} for p in people]
    return content


def people_of(content, root):
    """What training reads, unshifted, and what evaluation reads."""
    path, folder = write_set(str(root), content, images=False)
    records, problems = load_coco_keypoints(path, folder)
    truth = GroundTruth(dataset=json.load(open(path)), num_joints=17, source=path)
    taught = [(r["image_id"], a) for r in records for a in r["annotations"]]
    return taught, truth, problems


def check_agreement(taught, truth):
    """Training and evaluation have the same people, and the figures of both backends are equal, and 100."""
    scored = {a.get("file_id", a["id"]): a for a in truth.annotations}
    assert len(taught) == len(scored)
    for image_id, a in taught:
        other = scored[a["id"]]
        assert image_id == other["image_id"] and a["bbox"] == other["bbox"] and a["area"] == other["area"] > 0
        assert a["iscrowd"] == other["iscrowd"]
        assert np.allclose(np.reshape(a["keypoints"], (-1, 3)) - [0.5, 0.5, 0], np.reshape(other["keypoints"], (-1, 3)))
        assert other["num_keypoints"] == sum(v > 0 for v in a["keypoints"][2::3])
    results = ground_truth_as_predictions(truth)
    for iou_type in METRICS:
        faster, slow = (
            coco_metrics(truth.dataset, results, iou_type, COCO.oks_sigmas, backend=b)
            for b in ("faster", "pycocotools")
        )
        np.testing.assert_allclose(list(faster.values()), list(slow.values()), atol=1e-9, equal_nan=True)
        counted = [a for a in truth.annotations if not a["iscrowd"] and (iou_type == "bbox" or a["num_keypoints"])]
        assert slow["AP"] == pytest.approx(100) if counted else np.isnan(slow["AP"])


@pytest.mark.parametrize(
    "fields, expected, reason",
    [
        ({"area": 0}, {"area": AREA_OF_BOX * 800}, "with area 0"),
        ({"area": None}, {"area": AREA_OF_BOX * 800}, None),
        ({"area": "large"}, {"area": AREA_OF_BOX * 800}, "none that is a number"),
        ({"area": "300.5"}, {"area": 300.5}, "area is text"),
        ({"num_keypoints": None}, {"num_keypoints": 17}, "num_keypoints"),
        ({"num_keypoints": 0}, {"num_keypoints": 17}, "num_keypoints"),
        ({"num_keypoints": "17"}, {"num_keypoints": 17}, "num_keypoints"),
        ({"iscrowd": None}, {"iscrowd": 0}, "iscrowd"),
        ({"iscrowd": "0"}, {"iscrowd": 0}, "iscrowd"),
        ({"iscrowd": "1"}, {"iscrowd": 1}, "iscrowd"),
        ({"iscrowd": True}, {"iscrowd": 1}, None),
        ({"bbox": []}, {}, "made from the joints"),
        ({"bbox": None}, {}, "made from the joints"),
        ({"bbox": [3, 3, 0, 9]}, {}, "made from the joints"),
        ({"category_id": None}, {"category_id": 1}, None),
        ({"keypoints": [None, None, 0] * 8 + [15, 20, 2] * 9}, {"num_keypoints": 9}, "num_keypoints"),
        ({"id": "a7"}, {"file_id": "a7", "id": 1}, None),
        ({"id": 0}, {"file_id": 0, "id": 1}, None),
        ({"id": 7.5}, {"file_id": 7.5, "id": 1}, None),
        ({"id": 10**30}, {"file_id": 10**30, "id": 1}, None),
    ],
)
def test_training_and_evaluation_read_alike(tmp_path, fields, expected, reason):
    taught, truth, problems = people_of(content_of(person(7, 1, **fields)), tmp_path)
    check_agreement(taught, truth)
    for key, value in expected.items():
        assert truth.annotations[0][key] == (pytest.approx(value) if key == "area" else value)
    assert [reason in line for line in problems.lines()] == ([True] if reason else [])
    if "bbox" in fields:  # with a margin round the joints, which lie from 11 to 29 and from 11 to 49 (pixel centres)
        x, y, w, h = truth.annotations[0]["bbox"]
        assert x < 11 and y < 11.5 and x + w > 29.5 and y + h > 49


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda c: c["annotations"][0].update(iscrowd=2), "annotation 7 has `iscrowd` 2; it must be 0 or 1"),
        (lambda c: c["annotations"][0].update(iscrowd="often"), "annotation 7 has `iscrowd` 'often'"),
        (lambda c: c["annotations"][0].update(iscrowd=[]), "annotation 7 has `iscrowd`"),
        (lambda c: c["annotations"][0].update(area=[5]), "annotation 7 has `area`"),
        (lambda c: c["annotations"][0].update(area=True), "annotation 7 has `area`"),
        (lambda c: c["annotations"][0].update(area="-3"), "annotation 7 has a negative size in `area`"),
        (lambda c: c["annotations"][0].update(area=10**400), "annotation 7 has NaN or infinity in `area`"),
        (lambda c: c["annotations"][0].update(area=1e11), "annotation 7 has more than 1e.10 square pixels"),
        (lambda c: c["annotations"][0].update(bbox=[0, 0, 1e200, 1]), "annotation 7 has more than 1e.06 pixels"),
        (lambda c: c["annotations"][0].update(bbox=[[1], [2], [3], [4]]), "annotation 7 .* numbers in `bbox`"),
        (lambda c: c["annotations"][0].update(bbox={"x": 1}), "annotation 7 has `bbox`"),
        (lambda c: c["annotations"][0].update(keypoints=[[9]] * 51), "annotation 7 .* numbers in `keypoints`"),
        (lambda c: c["annotations"][0].update(keypoints=[10**400] * 51), "annotation 7 .* `keypoints`"),
        (lambda c: c["annotations"][0].update(keypoints=3), "annotation 7 has `keypoints` 3; it must be a list"),
        (lambda c: c["annotations"][0].update(id=None), "annotation None has `id` None; an id is a number or text"),
        (lambda c: c["annotations"][0].update(id=[1]), r"annotation \[1\] has `id`"),
        (lambda c: c["annotations"][0].update(image_id={}), "annotation 7 has `image_id` {}"),
        (lambda c: c["annotations"][0].update(image_id="1"), "annotation 7 belongs to image '1'"),
        (lambda c: c["annotations"].append(5), "an annotation without `id` or `image_id`: 5"),
        (lambda c: c["images"].append("x"), "an image without `id`"),
        (lambda c: c["images"][0].update(id=True), "image True has `id` True"),
        (lambda c: c["images"][0].update(id=float("nan")), "image nan has `id` nan"),
        (lambda c: c["images"][0].update(file_name=5), "image 1 has `file_name` 5"),
        (lambda c: c["images"][0].update(file_name="a\0b"), "image 1 has `file_name`"),
        (lambda c: c["images"][0].update(height=float("inf")), "the size 80 x inf"),
        (lambda c: c["categories"][0].update(keypoints=3), "category 'person' has `keypoints` 3; it must be a list"),
        (lambda c: c.update(categories=1), "no category with `keypoints`"),
        (lambda c: c["categories"][0].update(id=[1]), r"a category has `id` \[1\]"),
        (lambda c: (c["categories"].append({"id": 2, "name": "dog"}), c["categories"][0].pop("id")), "has no `id`"),
    ],
)
def test_what_makes_no_sense_is_the_same_sentence_on_both_sides(tmp_path, change, words):
    content = content_of(person(7, 1))
    change(content)
    with pytest.raises(DataError, match=words) as error:
        write_set(str(tmp_path), {"images": []}, images=False)
        load_coco_keypoints("file.json", str(tmp_path), data=content)
    with pytest.raises(DataError) as other:
        GroundTruth(dataset=content, num_joints=17, source="file.json")
    assert str(error.value) == str(other.value) and str(error.value).startswith("file.json")
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("change", [lambda i: f"im{9 - i}", lambda i: i + 0.5, lambda i: 10**25 + i, lambda i: -i])
def test_any_image_ids_give_the_figures_of_plain_ones(change):
    content = toy_content(6)
    plain = GroundTruth(dataset=content, num_joints=17)
    results = ground_truth_as_predictions(plain)[1:]
    for number, result in enumerate(results):
        result["score"] = 0.1 * number
        result["keypoints"] = [v + number / 3 for v in result["keypoints"]]
    odd = json.loads(json.dumps(content))
    for image in odd["images"]:
        image["id"] = change(image["id"])
    for annotation in odd["annotations"]:
        annotation.update(image_id=change(annotation["image_id"]), category_id="p")
    odd["categories"][0]["id"] = "p"
    truth = GroundTruth(dataset=odd, num_joints=17)
    moved = [{**r, "image_id": change(r["image_id"]), "category_id": "p"} for r in results]
    for iou_type in METRICS:
        expected = coco_metrics(plain.dataset, results, iou_type, COCO.oks_sigmas, backend="pycocotools")
        for backend in ("pycocotools", "faster"):
            found = coco_metrics(truth.dataset, moved, iou_type, COCO.oks_sigmas, backend=backend)
            np.testing.assert_allclose(list(found.values()), list(expected.values()), atol=1e-9, equal_nan=True)
    ranking = Ranking(truth, moved, COCO.oks_sigmas)
    assert set(ranking.image_ids) == set(truth.images)
    scores = np.array([r["score"] for r in moved])
    assert ranking.average_precision(ranking.rank(scores)) == pytest.approx(expected["AP"])
    with pytest.raises(DataError, match="'elsewhere', but the labels have no image"):
        for_coco(truth.dataset, [{**moved[0], "image_id": "elsewhere"}])


ODD = [None, "", "1", "x", 0, -1, 1, 2, 0.5, 1e-300, 1e300, 10**400, float("nan"), True, [], [1], {}, 30, 1e5]


def damaged(rng):
    """A sound file of three images with one or two random changes anywhere in it."""
    content = json.loads(json.dumps(toy_content(3)))
    content["annotations"] += [person(200 + i, i, box=(30, 15, 12, 30), iscrowd=i % 2) for i in range(3)]
    for _ in range(rng.randint(1, 2)):
        parent, key = content, rng.choice(["images", "annotations", "annotations", "annotations", "categories"])
        while isinstance(parent[key], (list, dict)) and parent[key] and rng.random() < 0.9:
            parent = parent[key]
            key = rng.choice(list(parent)) if isinstance(parent, dict) else rng.randrange(len(parent))
        action = rng.random()
        if action < 0.15:
            del parent[key]
        elif action < 0.25 and isinstance(parent, list):
            parent.append(parent[key])
        else:
            parent[key] = rng.choice(ODD)
        if not content.keys() >= {"images", "annotations", "categories"}:
            break
    return content


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_are_read_alike_or_refused_in_a_sentence(tmp_path, seed):
    rng, accepted = random.Random(seed), 0
    for number in range(25):
        content = damaged(rng)
        text = json.dumps(content)
        (tmp_path / "set.json").write_text(text)
        answers = []
        for read in (
            lambda: load_coco_keypoints(str(tmp_path / "set.json"), str(tmp_path)),
            lambda: GroundTruth.from_file(str(tmp_path / "set.json"), 17, str(tmp_path)),
        ):
            try:
                answers.append(read())
            except DataError as error:
                answers.append(str(error))
                assert len(str(error)) < 500 + len(str(tmp_path)) * 3, text
        if any(isinstance(answer, str) for answer in answers):
            assert all(isinstance(answer, str) for answer in answers), (seed, number, answers)
            continue
        (records, _), truth = answers
        check_agreement([(r["image_id"], a) for r in records for a in r["annotations"]], truth)
        accepted += 1
    assert 2 < accepted < 23  # both kinds are tried


def test_what_was_mended_is_said_once(tmp_path, caplog):
    content = content_of(person(7, 1, area=0), person(8, 1, area=0))
    for _ in range(2):
        people_of(content, tmp_path)
    assert len([r for r in caplog.records if "0.53 of the box" in r.message]) == 1
    assert "annotations.json: 2 annotations with area 0, or none that is a number; 0.53 of" in caplog.text


def test_areas_that_are_left_out_are_a_note_and_no_warning(tmp_path, caplog):
    """Who does not know the area leaves it out, as the pages advise."""
    caplog.set_level("INFO", logger="rle_onestage")
    content = content_of(person(7, 1), person(8, 1), person(9, 1))
    for annotation in content["annotations"][1:]:
        del annotation["area"]
    for _ in range(2):
        _, truth, problems = people_of(content, tmp_path)
    assert truth.annotations[1]["area"] == pytest.approx(AREA_OF_BOX * 800) and not problems.lines()
    (record,) = [r for r in caplog.records if "0.53 of the box" in r.message]
    assert record.levelname == "INFO" and "annotations.json: 2 of 3 annotations without `area`; 0.53" in record.message


def test_a_size_that_only_the_image_knows(tmp_path):
    content = content_of(person(7, 1, bbox=[], keypoints=[78, 58, 2, 10, 50, 2] + [0] * 45))
    path, folder = write_set(str(tmp_path), content)
    del content["images"][0]["width"], content["images"][0]["height"]
    truth = GroundTruth(dataset=content, num_joints=17, image_root=folder)
    records, _ = load_coco_keypoints(path, folder, data=content)
    x, y, w, h = truth.annotations[0]["bbox"]
    assert records[0]["annotations"][0]["bbox"] == [x, y, w, h] and (x + w, y + h) == (80, 59.5)


def nobody(*people, **image):
    return lambda: content_of(*people, **image)


def normalised(box, joints):
    """A set of two images, in fractions of the image where asked for."""
    content = toy_content(2)
    for a, image in zip(content["annotations"], content["images"]):
        scale = image["width"], image["height"]
        if box:
            a["bbox"] = [v / scale[i % 2] for i, v in enumerate(a["bbox"])]
        if joints:
            a["keypoints"] = [v if i % 3 == 2 else v / scale[i % 3] for i, v in enumerate(a["keypoints"])]
    return content


def corners(number=8):
    """Boxes of people all over the images as x0, y0, x1, y1."""
    content = toy_content(number)
    for image in content["images"]:
        image.update(width=160, height=120)
    for i, annotation in enumerate(content["annotations"]):
        x, y = (10 + 37 * i) % 125, (5 + 29 * i) % 75
        annotation.update(person(annotation["id"], annotation["image_id"], box=(x, y, 30, 40)))
        annotation["bbox"] = [x, y, x + 30, y + 40]
    return content


@pytest.mark.parametrize(
    "make, words",
    [
        (nobody(), "have no annotations; export the file anew, as COCO keypoints"),
        (nobody(person(7, 1, iscrowd=1), person(8, 1, iscrowd=1)), "2 annotations of crowds"),
        (
            nobody(person(7, 1, keypoints=[9, 9, 0] * 17)),
            "1 annotation without a labelled joint .* whether every visibility is 0",
        ),
        (
            nobody(person(7, 1, category_id=3)),
            "1 annotation of a category without keypoints left out; set `category_id`",
        ),
        (
            nobody(person(7, 1, bbox=[5, 5, 0, 0], keypoints=[9, 9, 2] + [0] * 48)),
            "without a box of positive size left out; write `bbox`",
        ),
        (nobody(person(7, 1, bbox=[500, 500, 9, 9])), "box is outside the image"),
        (nobody(person(7, 1, bbox=[5, 5, 2, 2])), "a side is below 3 pixels"),
        (nobody(person(7, 1, keypoints=[90, 90, 2] * 17)), "labelled joints outside the image"),
        (lambda: normalised(True, True), "`keypoints` of all people lie between 0 and 1.*`bbox` of all people"),
        (lambda: normalised(False, True), "`keypoints` of all people lie between 0 and 1"),
        (lambda: normalised(True, False), "`bbox` of all people lie between 0 and 1"),
        (corners, "boxes reach far beyond their image .* all fit as x0, y0, x1, y1"),
    ],
)
@pytest.mark.parametrize("keep_empty", [True, False])
def test_nobody_left_to_learn_is_one_sentence(tmp_path, make, words, keep_empty, caplog):
    cfg = toy_config(
        tmp_path, f"nobody_{tmp_path.name}", make(), INPUT__POSE__SIZE=64,
        DATALOADER__FILTER_EMPTY_ANNOTATIONS=not keep_empty,
    )  # fmt: skip
    with pytest.raises(DataError, match=words) as error:
        load_training_records(cfg)
    assert "annotations.json" in str(error.value)
    assert not re.search("between 0 and 1|as x0, y0, x1, y1", caplog.text)  # not as a warning too


def test_people_at_the_border_are_no_doubt(tmp_path):
    content = corners(8)
    for annotation in content["annotations"]:  # true x, y, width, height, half of them cut by the border
        x, y, x1, y1 = annotation["bbox"]
        annotation["bbox"] = [x, y, x1 - x + (120 if annotation["id"] % 2 else 0), y1 - y]
    taught, _, problems = people_of(content, tmp_path)
    assert len(taught) == 8 and not problems.doubts


def one_beyond_in_five(number, box):
    """Boxes of which the first of each five reaches beyond its image as x, y, width, height, and ``box`` does not."""
    content = corners(number)
    for place, annotation in enumerate(content["annotations"]):
        annotation["bbox"] = [100, 60, 150, 110] if place % 5 == 0 else box
        x, y = annotation["bbox"][2:]
        annotation["keypoints"] = [x - 10, y - 10, 2] * 17
    return content


@pytest.mark.parametrize(
    "number,box,certain",
    [
        (9, [20, 20, 40, 40], False),  # too few
        (12, [20, 20, 40, 40], True),
        (12, [2, 2, 60, 60], False),  # whose two readings hardly differ
    ],
)
def test_corners_that_rarely_leave_the_image_are_certain_too(tmp_path, number, box, certain):
    _, _, problems = people_of(one_beyond_in_five(number, box), tmp_path)
    assert [doubt.certain for doubt in problems.doubts] == [certain]


def test_doubtful_boxes_are_a_warning(tmp_path, caplog):
    content = corners(20)
    content["annotations"][0]["bbox"] = [60, 40, 20, 20]  # one of them is right
    content["annotations"][0]["keypoints"] = [62, 42, 2] * 17
    taught, _, problems = people_of(content, tmp_path)
    assert len(taught) == 20 and [doubt.certain for doubt in problems.doubts] == [False]
    assert "write `bbox` as x, y, x1 - x0, y1 - y0" in caplog.text
    caplog.clear()
    load_training_records(toy_config(tmp_path / "set", f"doubtful_{tmp_path.name}", content, INPUT__POSE__SIZE=64))
    assert caplog.text.count("write `bbox` as x, y, x1 - x0, y1 - y0") == 1


def test_the_count_is_of_those_who_teach(tmp_path, caplog):
    content = content_of(
        person(1, 1), person(2, 1, iscrowd=1), person(3, 1, bbox=[5, 5, 1, 30]), person(4, 1, keypoints=[0] * 51),
        person(5, 1, keypoints=[90, 9, 2, 20, 20, 2] + [0] * 45),
    )  # fmt: skip
    cfg = toy_config(tmp_path, "teaching_counted", content, INPUT__POSE__SIZE=64)
    with caplog.at_level(logging.INFO, "rle_onestage"):
        load_training_records(cfg)
    assert "(2 people, 18 joints; 1 more have a box, but no joint)" in caplog.text


@pytest.mark.parametrize("keep_empty", [True, False])
def test_one_of_several_sets_may_have_nobody(tmp_path, caplog, keep_empty):
    cfg = toy_config(tmp_path / "a", "some_people", toy_content(2), INPUT__POSE__SIZE=64)
    path, folder = write_set(str(tmp_path / "b"), content_of())
    cfg.DATASETS.KEYPOINT_FILES = [*cfg.DATASETS.KEYPOINT_FILES, ["no_people", path, folder]]
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("some_people", "no_people"), ()
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = not keep_empty
    assert len(load_training_records(cfg).records) == 2 + keep_empty
    assert "Nobody is learnt from data set 'no_people'" in caplog.text and "no annotations" in caplog.text
    assert ("teach what is no person" in caplog.text) == keep_empty
