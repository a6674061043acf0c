"""The page of a calibration: what would hide what it shows."""

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rle_onestage.calibration.plots import _reliability


def test_the_legend_lies_over_no_curve():
    """Curves of too small sigmas bend down, of too large ones up."""
    curves = {"before": [0.2, 0.6], "after": [0.8, 0.98]}
    figure = Figure(figsize=(5, 4.8), layout="constrained")
    axis = figure.subplots()
    _reliability(axis, {"reliability": {"levels": [0.5, 0.9], **curves, "ellipse": curves, "hdr": curves}})
    FigureCanvasAgg(figure).draw()
    assert len(axis.get_legend().get_texts()) == 6
    assert not axis.get_legend().get_window_extent().overlaps(axis.get_window_extent())
