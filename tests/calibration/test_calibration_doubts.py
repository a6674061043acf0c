"""Doubts that a report of a calibration names: images in both halves, few people, a weak model."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from rle_onestage.calibration.doubts import find_doubts
from rle_onestage.calibration.samples import Sample


def sample_of(files):
    """Images of these files with one labelled person each."""
    truth = SimpleNamespace(images=files, by_image=lambda: {i: [{}] for i in files})
    return Sample(truth, [], np.array([0.08, 0.05, 0.1]), files=files)


@pytest.mark.parametrize(
    "change, words",
    [
        ({}, []),
        (
            {"files": {1: "/a/1.png", 2: "/b/2.png"}},
            ["1 of 2 images", "with 1 labelled person, are", "(first; ", "2.png"],
        ),
        (
            {"people": {"fit": 1, "held_out": 50}},
            ["1 matched person with 2 labelled joints in 1 image to fit", "50 matched people with 1 labelled joint in"],
        ),
        ({"labels": {"head": 200, "hand": 19, "foot": 0}}, ["2 joints of 3", "fewer than 20", "(hand 19, foot 0)"]),
        ({"AP": 0.3}, ["0.3 AP"]),
        ({"AP": math.nan}, []),
    ],
)
def test_doubts(change, words):
    report = {
        "dataset": "second", "fit_dataset": "first", "images": {"fit": 1, "held_out": 2},
        "joints": {"fit": 2, "held_out": 1},
        "people": change.get("people", {"fit": 50, "held_out": 50}),
        "correction": {name: {"labels": n} for name, n in change.get("labels", {"head": 20}).items()},
        "scores": {"expected OKS": {"AP": change.get("AP", 60.0)}},
    }  # fmt: skip
    doubts = find_doubts(sample_of({7: "/b/2.png"}), sample_of(change.get("files", {1: "/a/1.png"})), report)
    assert len(doubts) == bool(words) and all(word in str(doubts[0]) for word in words)
