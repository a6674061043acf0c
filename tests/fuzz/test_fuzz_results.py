"""Damaged files of results, tracks and clips: accepted, or one sentence; both backends give the same figures."""

import json
import os
from contextlib import contextmanager

import numpy as np
import pytest
from fuzz_toys import ENCODINGS, SIGMAS, answer, content, fair_campaign, files
from hypothesis import given
from hypothesis import strategies as st
from video_benchmark.clips import read_clip

from rle_onestage.errors import DataError, PoseError
from rle_onestage.evaluation import GroundTruth, ground_truth_as_predictions, read_results, read_tracks, score_results
from rle_onestage.evaluation.results import by_image, instances_from_results


def results():
    """What our own evaluation writes, of the people of :func:`fuzz_toys.content`: somewhat beside them."""
    rng = np.random.default_rng(0)
    found = []
    for number, result in enumerate(ground_truth_as_predictions(GroundTruth(dataset=content(), num_joints=3))):
        keypoints = np.clip(np.array(result["keypoints"]).reshape(3, 3) + rng.normal(0, 1, (3, 3)), -50, 150)
        extras = {"keypoint_sigmas": rng.uniform(1, 3, 6).tolist(), "keypoint_presence": [0.9, None, 0.8],
                  "keypoint_visibility": [0.9, 1.5, 0.2], "score_factors": [0.9, 1.0, 0.7],
                  "person_area": None if number else 900.5}  # fmt: skip
        found.append({**result, "keypoints": keypoints.ravel().tolist(), "score": 0.9 - 0.1 * number, **extras})
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("fuzz")
    (root / "labels.json").write_text(json.dumps(content()))
    return root


REFUSED = []  # whether each example of the campaign in progress was refused


@contextmanager
def campaign():
    REFUSED.clear()
    with fair_campaign() as refused:
        yield
        refused += REFUSED


def figures_of(place, name, backend):
    scores = score_results(str(place / "labels.json"), str(place / name), oks_sigmas=SIGMAS, backend=backend)
    return {kind: list(scores[kind].values()) for kind in ("bbox", "keypoints", "best_match") if kind in scores}


@given(data=files(results, most=2))
def damaged_results(place, data):
    (place / "results.json").write_bytes(data)
    slow = answer(lambda: figures_of(place, "results.json", "pycocotools"))
    REFUSED.append(isinstance(slow, PoseError))
    faster = answer(lambda: figures_of(place, "results.json", "faster"))
    if isinstance(slow, PoseError):
        assert str(slow) == str(faster)
    else:
        assert slow.keys() == faster.keys()
        for kind, values in slow.items():
            np.testing.assert_allclose(faster[kind], values, atol=1e-9, equal_nan=True)
            assert all(np.isnan(v) or 0 <= v <= 100 for v in values[:3])
    drawn = answer(lambda: read_results(place / "results.json"))
    assert isinstance(slow, PoseError) or not isinstance(drawn, PoseError)
    if not isinstance(drawn, PoseError):
        for group in by_image(drawn).values():
            joints = len(drawn[0]["keypoints"]) // 3
            people = instances_from_results(group, (80, 100), joints)
            assert people.pred_keypoints.isfinite().all() and people.pred_boxes.tensor.isfinite().all()


def test_damaged_results_are_scored_alike_or_named_in_a_sentence(place):
    with campaign():
        damaged_results(place)


def track_lines():
    """The lines of a small file of tracks."""
    people = [
        {"type": "header", "source": "a.mp4", "width": 100, "height": 80, "fps": 25.0, "keypoints": ["a", "b", "c"]},
        *({**r, "frame": n // 2, "time": 0.04 * (n // 2), "track_id": n % 2, "predicted": n == 3, "image_id": n // 2}
          for n, r in enumerate(results())),
        {"type": "end", "frames": 2},
    ]  # fmt: skip
    for person in people:
        person.pop("keypoint_presence", None)
    return people


def clip():
    """The labels of a small clip."""
    value = content()
    value["videos"] = [{"id": 1, "rate": 25}]
    for number, image in enumerate(value["images"]):
        image["frame_index"] = number
    for number, annotation in enumerate(value["annotations"]):
        annotation["track_id"] = number
    return value


@given(data=files(track_lines))
def damaged_tracks(place, data):
    # One value a line, where the damaged thing is still a list.
    try:
        lines = json.loads(data)
        data = b"\n".join(json.dumps(line).encode() for line in lines) if isinstance(lines, list) else data
    except (ValueError, RecursionError):
        pass
    (place / "tracks.json").write_bytes(data)
    found = answer(lambda: read_tracks(place / "tracks.json"))
    REFUSED.append(isinstance(found, PoseError))
    if not isinstance(found, PoseError):
        assert len(found.frame) == len(found.keypoints) == len(found.boxes) == len(found.sigmas)


@given(data=files(clip))
def damaged_clips(place, data):
    (place / "clip.json").write_bytes(data)
    found = answer(lambda: read_clip(place / "clip.json"))
    REFUSED.append(isinstance(found, PoseError))
    if not isinstance(found, PoseError):
        assert found.people.keypoints.shape[1:] == (found.labelled.shape[1], 2)


@pytest.mark.parametrize("check", [damaged_tracks, damaged_clips])
def test_damaged_tracks_and_clips_are_read_or_named_in_a_sentence(place, check):
    with campaign():
        check(place)


def _stems(found):
    for result in found:
        result["image_id"] = f"{result['image_id']:03d}"


def _triples(found):
    for result in found:
        result["keypoints"] = np.reshape(result["keypoints"], (-1, 3)).tolist()


def _bare(found):
    for result in found:
        ours = ("keypoint_sigmas", "keypoint_presence", "keypoint_visibility", "score_factors", "person_area")
        for key in (*ours, "category_id"):
            del result[key]


WAYS = {"stems": _stems, "triples": _triples, "bare": _bare}


@given(ways=st.sets(st.sampled_from(sorted(WAYS))), encoding=st.sampled_from(ENCODINGS), in_file=st.booleans())
def other_ways(place, ways, encoding, in_file):
    found = results()
    (place / "plain.json").write_text(json.dumps(found))
    for way in ways:
        WAYS[way](found)
    (place / "ways.json").write_bytes(json.dumps({"annotations": found} if in_file else found).encode(encoding))
    plain, other = (figures_of(place, name, "pycocotools") for name in ("plain.json", "ways.json"))
    for kind in ("bbox", "keypoints"):
        assert other[kind] == pytest.approx(plain[kind], nan_ok=True)


def test_other_ways_to_write_results_have_the_same_figures(place):
    other_ways(place)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda r: r[0].update(image_id=999), r"1 of 4 results .*the first is result 1, of image 999"),
        (lambda r: r[1].update(image_id="2"), "result 2, of image '2'"),
        (lambda r: r[0].pop("image_id"), "result 1 has no `image_id`"),
        (lambda r: r[0].update(score=None), r"result 1 \(image \d\) has `score` None; it must be a finite number"),
        (lambda r: r[2].update(score=float("nan")), r"result 3 \(image \d\) has `score` nan"),
        (lambda r: r[0].update(score=True), "has `score` True"),
        (lambda r: r[0].update(score="0.5"), "has `score` '0.5'"),
        (lambda r: r[0].update(keypoints=None), "has `keypoints` None; it must be a list"),
        (lambda r: r[0].update(keypoints=[1, 2, 1]), "has 1 joint in `keypoints`, but .*labels.json has 3"),
        (lambda r: r[1].update(keypoints=[1, 2, 1]), "result 2 .* has 3 numbers in `keypoints`, which must be 9"),
        (lambda r: r[1].update(keypoints=[1, None, 1] * 3), "result 2 .* has nan in `keypoints`.*null is none"),
        (lambda r: r[1].update(keypoints=["5", 1, 1] * 3), "result 2 .* other than numbers in `keypoints`: '5'"),
        (lambda r: r[1].update(keypoints=[1e300] * 9), r"result 2 .* has 1e\+300 in `keypoints`"),
        (lambda r: r[0].update(bbox=[1]), r"has `bbox` \[1\]; it needs 4 numbers"),
        (lambda r: r[0].update(bbox=[9, 9, -2, 4]), "has a negative size in `bbox`"),
        (lambda r: r[3].pop("bbox"), "result 4 .* has no `bbox`, but others have"),
        (lambda r: r[0].update(keypoint_sigmas=[1, 2]), "has `keypoint_sigmas` .*; it needs 6 numbers"),
        (lambda r: r[0].update(person_area="big"), "has `person_area` 'big'"),
        (lambda r: r.insert(0, 1), "result 1 has no `image_id` .1."),
        (
            lambda r: [x.update(category_id=98 + i % 2) for i, x in enumerate(r)],
            "4 of 4 results have another `category_id` than 1.*98",
        ),
        (lambda r: r[1].update(category_id=None), r"result 2 .* has `category_id` None"),
    ],
)
def test_results_that_make_no_sense_are_one_sentence(place, change, words):
    found = results()
    change(found)
    (place / "wrong.json").write_text(json.dumps(found))
    with pytest.raises(DataError, match=words) as error:
        figures_of(place, "wrong.json", "auto")
    assert os.fspath(place / "wrong.json") in str(error.value)


def test_results_of_another_category_are_left_out_and_said(place, caplog):
    """As pycocotools does, which compares them with nobody."""
    found = results()
    (place / "own.json").write_text(json.dumps(found))
    found.append({**found[0], "category_id": 2, "score": 1.0})
    (place / "wrong.json").write_text(json.dumps(found))
    with_other, own = (figures_of(place, f"{name}.json", "auto") for name in ("wrong", "own"))
    for kind in own:
        np.testing.assert_equal(with_other[kind], own[kind])
    assert "1 of 5 results have another `category_id` than 1" in caplog.text


def test_a_class_that_is_numbered_otherwise_is_taken_for_people_and_said(place, caplog):
    """Ultralytics' results of one class have category 0."""
    found = results()
    (place / "own.json").write_text(json.dumps(found))
    (place / "wrong.json").write_text(json.dumps([{**r, "category_id": 0} for r in found]))
    with_other, own = (figures_of(place, f"{name}.json", "auto") for name in ("wrong", "own"))
    for kind in own:
        np.testing.assert_equal(with_other[kind], own[kind])
    assert "4 of 4 results have another `category_id` than 1" in caplog.text and "taken for people" in caplog.text


def test_a_key_that_is_there_twice_is_one_sentence(place):
    (place / "wrong.json").write_text(json.dumps(results()).replace('"score"', '"score": 1, "score"', 1))
    with pytest.raises(DataError, match="wrong.json is not valid JSON .*the key 'score' twice"):
        figures_of(place, "wrong.json", "auto")


def test_boxes_of_no_size_and_results_without_boxes(place):
    found = results()
    crowd = next(a for a in content()["annotations"] if a["iscrowd"])
    found.append({**found[0], "image_id": crowd["image_id"], "bbox": [*crowd["bbox"][:2], 0, 0], "score": 0.95})
    (place / "flat.json").write_text(json.dumps(found))
    flat = [figures_of(place, "flat.json", backend) for backend in ("pycocotools", "faster")]
    for kind in flat[0]:
        np.testing.assert_allclose(flat[0][kind], flat[1][kind], atol=1e-9, equal_nan=True)
    for result in found:
        result["bbox"] = None
    (place / "flat.json").write_text(json.dumps(found))
    assert figures_of(place, "flat.json", "auto").keys() == {"keypoints", "best_match"}
    people = instances_from_results(read_results(place / "flat.json")[:1], (80, 100), 3)
    x, y = (found[0]["keypoints"][i::3] for i in (0, 1))
    assert people.pred_boxes.tensor[0].tolist() == pytest.approx([min(x), min(y), max(x), max(y)])
