"""The plots of presence and visibility show what the report has."""

import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from rle_onestage.calibration.probability_plots import draw_probabilities

BINS = {"said": [0.1, math.nan, 0.4, 0.9], "true": [0.2, math.nan, 1.0, 0.8], "joints": [10, 0, 1, 30]}
ROW = {"presence_auc": 0.9, "presence_ece": 7.5, "visibility_auc": 0.7, "visibility_ece": 2.5}


def drawn(kinds):
    """The two axes, drawn from a report of these kinds."""
    reliability, areas = Figure().subplots(1, 2)
    table = {"all": ROW, "left_ear": {**ROW, "visibility_auc": 0.6}} if kinds else {}
    draw_probabilities(reliability, areas, {"probabilities": table, "probability_bins": dict.fromkeys(kinds, BINS)})
    return reliability, areas


def test_bins_that_have_joints_are_drawn_and_joints_by_name():
    reliability, areas = drawn(("presence", "visibility"))
    for line in reliability.lines[1:]:  # the first is the diagonal
        assert line.get_xydata() == pytest.approx(np.array([[10, 20], [90, 80]]))
    assert [len(marks.get_offsets()) for marks in reliability.collections] == [3, 3]  # one of few joints too
    labels = [text.get_text() for text in reliability.get_legend().texts]
    assert labels == ["presence: error 7.5 %", "visibility: error 2.5 %"]
    assert [label.get_text() for label in areas.get_yticklabels()] == ["all", "left ear"]
    assert areas.lines[1].get_xdata() == pytest.approx([0.7, 0.6])


def test_presence_alone_is_drawn_alone():
    reliability, areas = drawn(("presence",))
    assert len(reliability.lines) == 2 and len(areas.get_legend().texts) == 1


def test_without_probabilities_a_sentence_stands_there():
    reliability, areas = drawn(())
    assert all("do not tell" in axis.get_title() for axis in (reliability, areas)) and not areas.axison
