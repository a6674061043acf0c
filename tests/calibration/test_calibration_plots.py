"""The page of a calibration: what would hide what it shows."""

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rle_onestage.calibration.plots import GROUPS, _coverage, _reliability


def test_the_legend_lies_over_no_curve():
    """Curves of too small sigmas bend down, of too large ones up."""
    curves = {"before": [0.2, 0.6], "after": [0.8, 0.98]}
    figure = Figure(figsize=(5, 4.8), layout="constrained")
    axis = figure.subplots()
    _reliability(axis, {"reliability": {"levels": [0.5, 0.9], **curves, "ellipse": curves, "hdr": curves}})
    FigureCanvasAgg(figure).draw()
    assert len(axis.get_legend().get_texts()) == 6
    assert not axis.get_legend().get_window_extent().overlaps(axis.get_window_extent())


def test_where_before_and_after_meet_both_are_seen():
    rows = {name: {"coverage_50": 50.0, "coverage_90": 90.0, "joints": 3} for name in GROUPS}
    axis = Figure().subplots()
    _coverage(axis, {"before": rows, "after": rows}, "coverage")
    before, after = [line for line in axis.lines if line.get_marker() == "o"][:2]
    assert before.get_markerfacecolor() == "none" and after.get_markerfacecolor() != "none"
    free = before.get_markersize() / 2 - before.get_markeredgewidth() / 2
    assert after.get_markersize() / 2 + after.get_markeredgewidth() / 2 <= free
