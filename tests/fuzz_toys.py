"""Hypothesis strategies that damage JSON: types, values, keys, nesting, then the bytes; and what an answer must be."""

import copy
import json
import time
from contextlib import contextmanager

import numpy as np
from fuzz_answers import forget_peak, peak_megabytes
from hypothesis import strategies as st

from rle_onestage.errors import PoseError
from rle_onestage.evaluation import coco_metrics
from rle_onestage.evaluation.metrics import METRICS

NAMES = ["nose", "left_paw", "right_paw"]
SIGMAS = [0.05, 0.06, 0.07]
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32")
# Of the processor, for an example of a few kilobytes; and memory that all examples of a test may add.
MOST_SECONDS, MOST_MEGABYTES = 5, 600


def content():
    """A sound file: three images, people with all, with some and without labelled joints, a crowd, polygons."""
    people = [
        (1, (10, 10, 40, 60), [2, 1, 2], 0),
        (1, (55, 20, 30, 50), [2, 0, 1], 0),
        (2, (20, 5, 50, 70), [0, 0, 0], 0),
        (2, (5, 30, 80, 40), [1, 2, 2], 1),
        (2, (40, 10, 45, 60), [2, 2, 2], 0),
    ]
    annotations = []
    for number, (image, (x, y, w, h), flags, crowd) in enumerate(people, start=1):
        places = [(0.5, 0.1), (0.2, 0.6), (0.8, 0.9)]
        joints = [v for (a, b), f in zip(places, flags) for v in ([round(x + a * w, 1), round(y + b * h, 1), f])]
        annotations.append({
            "id": number, "image_id": image, "category_id": 1, "bbox": [x, y, w, h], "area": 0.6 * w * h,
            "iscrowd": crowd, "num_keypoints": sum(f > 0 for f in flags), "keypoints": joints,
            "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
        })  # fmt: skip
    images = [{"id": i, "file_name": f"sub/{i:03d}.jpg", "width": 100, "height": 80} for i in (1, 2, 3)]
    category = {"id": 1, "name": "cat", "keypoints": list(NAMES), "skeleton": [[1, 2], [1, 3]]}
    return {"images": images, "annotations": annotations, "categories": [category]}


def nested(depth, inner=0):
    """``[[[... 0 ...]]]``."""
    for _ in range(depth):
        inner = [inner]
    return inner


ODD = st.one_of(
    st.sampled_from([
        None, True, False, "", "1", "nose", "x" * 5000, "a\0b", "\ud800", "ü\n", "sub\\001.jpg", 0, -1, 1, 2, 3, 0.5,
        -0.0, 1e-300, 1e300, -1e300, 10**18, 10**400, float("nan"), float("inf"), -float("inf"), [], [1], {}, {"a": 1},
        [[]], [None] * 9, ["0"] * 9, [0] * 1000, 1e5, 1e6, 1e9, 2**31, 2**53, 2**63, 2**64,
    ]),
    st.integers(), st.floats(), st.text(max_size=4), st.integers(1, 400).map(nested),
    st.lists(st.floats(-50, 150), min_size=4, max_size=9),
)  # fmt: skip


def _places(value, found, parent=None, key=None):
    if parent is not None:
        found.append((parent, key))
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for inner, item in items:
        _places(item, found, value, inner)


@st.composite
def damaged(draw, make, most=3):
    """What ``make`` gives with up to so many changes anywhere in it."""
    value = [copy.deepcopy(make())]
    for _ in range(draw(st.integers(0, most))):
        found = []
        _places(value, found)
        if not found:  # all is gone
            break
        parent, key = draw(st.sampled_from(found))
        action = draw(st.sampled_from(["odd", "odd", "odd", "drop", "twice", "wrap", "text", "rename", "more", "swap"]))
        _change(draw, found, parent, key, action)
    return value[0] if value else None


def _change(draw, found, parent, key, action):
    if action == "drop":
        del parent[key]
    elif action == "twice" and isinstance(parent, list):
        parent.append(copy.deepcopy(parent[key]))
    elif action == "wrap":
        parent[key] = draw(st.sampled_from([[parent[key]], {"value": parent[key]}, [parent[key]] * 2]))
    elif action == "text":
        parent[key] = json.dumps(parent[key])
    elif action == "rename" and isinstance(parent, dict):
        parent[draw(st.sampled_from(["x", key.upper(), key + " "]))] = parent.pop(key)
    elif action == "more" and isinstance(parent, dict):
        names = ["ignore", "score", "caption", "area_source", "segmentation", "counts", "lvis_mark", "is_rare", "x"]
        parent[draw(st.sampled_from(names))] = copy.deepcopy(draw(ODD))
    elif action == "swap":
        other, place = draw(st.sampled_from(found))
        parent[key] = copy.deepcopy(other[place]) if _holds(other, place) else None
    else:
        parent[key] = copy.deepcopy(draw(ODD))  # another change may be inside it


def _holds(parent, key):
    return key in parent if isinstance(parent, dict) else key < len(parent)


@st.composite
def files(draw, make, most=3):
    """The bytes of a damaged file: in some encoding, perhaps cut, with a byte changed, or no JSON at all."""
    value = draw(damaged(make, most))
    data = json.dumps(value, ensure_ascii=draw(st.booleans())).encode(draw(st.sampled_from(ENCODINGS)), "surrogatepass")
    how = draw(st.sampled_from(["whole"] * 12 + ["cut", "byte", "deep", "random"]))
    if how == "cut":
        data = data[: draw(st.integers(0, len(data)))]
    elif how == "byte" and data:
        place = draw(st.integers(0, len(data) - 1))
        data = data[:place] + bytes([draw(st.integers(0, 255))]) + data[place + 1 :]
    elif how == "deep":
        data = draw(st.sampled_from([b"[", b'{"images":', b'{"a":['])) * draw(st.integers(1, 20000))
    elif how == "random":
        data = draw(st.binary(max_size=60))
    return data


def answer(read):
    """What ``read`` gives, or its error, which must be one short sentence that names the file; in bounded time."""
    start, before = time.process_time(), forget_peak()
    try:
        found = read()
    except PoseError as error:
        found = error
        text = str(error)
        assert ".json" in text and len(text) < 700 and "\n" not in text, text
        text.encode()  # it can be printed and logged
    taken, grown = time.process_time() - start, peak_megabytes() - before
    assert taken < MOST_SECONDS and grown < MOST_MEGABYTES, f"{taken:.1f} s, {grown:.0f} MB"
    return found


@contextmanager
def fair_campaign():
    """Of all that is tried inside, some is accepted, and some refused.

    Yields:
        A list for whether each example was refused.
    """
    refused = []
    yield refused
    assert 0.1 < np.mean(refused) < 0.9, f"{np.mean(refused):.0%} of {len(refused)} are refused: one kind is not tried"


def both_figures(truth, results, sigmas):
    """Figures of both kinds; the two backends must give the same."""
    figures = {}
    for iou_type in METRICS:
        faster, slow = (
            coco_metrics(truth.dataset, results, iou_type, sigmas, backend=b, max_people=500)
            for b in ("faster", "pycocotools")
        )
        np.testing.assert_allclose(list(faster.values()), list(slow.values()), atol=1e-9, equal_nan=True)
        figures[iou_type] = slow
    return figures
