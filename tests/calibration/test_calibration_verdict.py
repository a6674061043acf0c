"""What a calibration comes to: whether the corrected weights should be used, and why."""

import math

import numpy as np
import pytest
from calibration_toys import drawn_matches

from rle_onestage.calibration.verdict import find_verdict
from rle_onestage.evaluation.regions import gain_with_interval


def report_of(
    gain, constant=(0.5, 0.2, 0.8), ece=(6.0, 2.0), doubts=(), earlier=False, images=12, right=True, partial=False,
    people=99,
):  # fmt: skip
    """A report in which the correction gains so many nats, with an interval, over the uncorrected sigma and over one
    constant sigma; the other constant one is worse."""

    def row(value, low, high):
        return {"nll": 9.0 + value, "gain": value, "gain_interval": [low, high], "images": images}

    return {
        "dataset": "own_val", "weights": "final.pth", "files": ["r.json", "p.png", "out/calibrated.pth"],
        "images": {"held_out": 12}, "joints": {"held_out": 1}, "doubts": list(doubts),
        "remedies": ["give more people"] * len(doubts),
        "thresholds": {"before": {"threshold": 0.439}, "after": {"threshold": 0.118} if right else None},
        "corrected_before": earlier, "partial": partial, "people": {"held_out": people},
        "before": {"all": {"ece": ece[0]}}, "after": {"all": {"ece": ece[1]}},
        "likelihood": {
            "before": row(*gain), "after": {"nll": 9.0},
            "constant_px": row(constant[0] + 1, 0.5, 2.5), "constant_relative": row(*constant),
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    "case, use, words",
    [
        (dict(gain=(0.4, 0.1, 0.7)), True, ["12 held-out images of own_val (1 labelled joint)",
                                            "better than the uncorrected one: 9.000 against 9.400",
                                            "a gain of 0.400, 95 %: 0.100 to 0.700"]),
        (dict(gain=(-0.4, -0.7, -0.1)), False, ["worse than the uncorrected one", "a loss of 0.400, 95 %: 0.100 to"]),
        (dict(gain=(0.1, -0.2, 0.4)), True, ["neither better nor worse than the uncorrected one", "by 2.0 perc"]),
        (dict(gain=(0.1, -0.2, 0.4), ece=(2.0, 6.0)), False, ["neither better nor worse than the unc"]),
        (dict(gain=(0.4, 0.1, 0.7), ece=(2.0, 6.0)), True, ["by 2.0 without it. Here the likelihood decides"]),
        (dict(gain=(0.4, 0.1, 0.7), constant=(-0.6, -0.9, -0.3)), True,
         ["worse than one constant sigma for each joint (relative to the person's size): 9.000 against 8.400",
          "does not tell sure joints from unsure"]),
        (dict(gain=(0.4, 0.1, 0.7), constant=(0.1, -0.9, 0.3)), True, ["worse than one constant sigma", "do not show"]),
        (dict(gain=(0.4, 0.1, 0.7), doubts=["there are few people"]), True, ["But there are few people."]),
        (dict(gain=(0.4, math.nan, math.nan), images=1), False, ["Only 1 held-out image of own_val has matched people",
                                                                 "9.000 nats a joint against 9.400", "at least 10"]),
    ],
)  # fmt: skip
def test_the_verdict(case, use, words):
    verdict = find_verdict(report_of(**case))
    text = "\n".join(verdict["sentences"])
    assert verdict["use"] is use and all(word in text for word in words), text
    reserved = "doubts" in case or "does not tell sure joints" in text
    advice = {
        (True, False): "Use the corrected weights: MODEL.WEIGHTS out/cal",
        (
            True,
            True,
        ): "So rely on neither sigma yet. First ",
        (False, False): "Keep the uncorrected weights, final.pth",
    }
    own, other = ("0.11", "0.43 before") if use else ("0.43", "0.11 after")
    last = f"In the demo give --confidence-threshold {own}, the score with the best F1 with these weights ({other} the"
    assert verdict["sentences"][-2].startswith(advice[use, reserved]) and verdict["sentences"][-1].startswith(last)
    first = "give more people" if "doubts" in case else "train the model longer, or on more images"
    assert not reserved or f"yet. First {first}; then calibrate again." in text
    assert text.count("orrected weights") == 1 and ("sure joints from unsure" in text) == ("constant" in case)


@pytest.mark.parametrize("gain, words", [((0.4, 0.1, 0.7), "better than the earlier one?"), ((-1, -2, -0.5), "Keep f")])
def test_a_correction_that_the_weights_had_is_said(gain, words):
    verdict = find_verdict(report_of(gain, earlier=True))
    text = "\n".join(verdict["sentences"])
    assert "final.pth has a correction already" in text and words in text
    assert "Use the corrected" not in text and "Keep the uncorrected" not in text and words in verdict["sentences"][-2]


@pytest.mark.parametrize(
    "partial, people, words",
    [(True, 60, "have no label (partial: True) count as wrong"), (False, 30, "from 30 people"), (False, 60, "")],
)
def test_a_threshold_says_what_it_is_worth(partial, people, words):
    last = find_verdict(report_of((0.4, 0.1, 0.7), partial=partial, people=people))["sentences"][-1]
    assert last.endswith(words or "before the correction)") and "--confidence-threshold" in last
    assert ("too high" in last, "rough guess" in last) == (partial, people < 50)


def test_without_a_right_detection_no_threshold_is_named():
    assert "--confidence-threshold" not in "".join(find_verdict(report_of((0.4, 0.1, 0.7), right=False))["sentences"])


def test_the_interval_of_a_gain_is_over_images_and_of_labelled_joints():
    matches = drawn_matches(2000)
    chosen = matches.visibility > 0
    values = np.where(chosen, np.random.default_rng(1).normal(0.3, 1, chosen.shape), 1e6)
    alone = gain_with_interval(values, chosen, np.arange(2000), resamples=400)
    low, high = alone["gain_interval"]
    assert alone["gain"] == pytest.approx(values[chosen].mean())
    assert high - low == pytest.approx(2 * 1.96 / math.sqrt(chosen.sum()), rel=0.2) and low < alone["gain"] < high
    for images in (1, 9, 10):  # of few a bootstrap is too narrow, of one it has no width
        few = gain_with_interval(values, chosen, np.arange(2000) % images, resamples=10)
        assert np.isfinite(few["gain_interval"]).all() == (images == 10) and few["images"] == images
        assert few["gain"] == pytest.approx(alone["gain"])
    assert math.isnan(gain_with_interval(values, chosen & False, np.arange(2000), resamples=5)["gain"])
