"""What a calibration writes for people: its text, what of it is printed, and the page of plots."""

import math

import pytest
import test_calibrate
from matplotlib.backends.backend_agg import FigureCanvasAgg

from rle_onestage.calibration import fit as subject
from rle_onestage.calibration import plots
from rle_onestage.calibration.report import format_report, format_summary
from rle_onestage.engine.setup import load_config

made, calibrated = test_calibrate.made, test_calibrate.calibrated  # the toy, and the report of one run


@pytest.mark.parametrize(
    "chosen, interval, words",
    [
        ((1, 0, 1), [0.2, 1.4], ["are better", "+0.8 AP", "\nMODEL.RLE_ONESTAGE.TEST.OKS_POWER"]),
        ((1, 0, 1), [-0.2, 1.4], ["keep the config's powers", "(SCORE_POWER", "not better beyond chance, +0.8 AP"]),
        ((1, 0, 1), [math.nan, math.nan], ["keep the config's powers", "+0.8 AP on the held-out images (too few for"]),
        ((1, 1, 1), [0.0, 0.0], ["the config's were best"]),
    ],
)
def test_powers_are_advised_where_they_are_better_on_held_out_images(calibrated, chosen, interval, words):
    report, _ = calibrated
    powers = {"config": (1, 1, 1), "chosen": chosen, "gain": 0.8, "gain_interval": interval}
    lines = [line.replace(" 1", " 0.5") for line in report["config"]]
    text = format_report({**report, "powers": powers, "config": lines})
    values = ", ".join(line.removeprefix("MODEL.RLE_ONESTAGE.TEST.") for line in lines)
    assert (f"the images to fit on ({values}) are not" in text) == ("keep the config's powers" in words)
    assert all(word in text for word in words) and ("\nMODEL.RLE" in text) == (interval[0] > 0)


def test_the_report_says_what_it_rests_on_and_what_its_thirds_are(calibrated):
    report, _ = calibrated
    rows = [report["after"][name] for name in ("small", "medium", "large")]
    limits = [(row["size_from"], row["size_to"]) for row in rows]
    assert limits[0][0] == 0 < limits[0][1] == limits[1][0] < limits[1][1] == limits[2][0] and limits[2][1] == math.inf
    text = format_report(report)
    assert f"| small (to {limits[0][1]:.0f} px) " in text and f"| large (over {limits[2][0]:.0f} px) " in text
    assert "thirds by sqrt(area)" in text and f"{report['joints']['held_out']} held-out joints" in text
    assert report["joints"]["held_out"] == report["after"]["all"]["joints"]
    assert sum(row["labels"] for row in report["correction"].values()) == report["joints"]["fit"]


def test_what_is_printed_fits_on_a_screen(calibrated):
    """The tables by joint are in the file that it names."""
    report, _ = calibrated
    text, whole = format_summary(report), format_report(report)
    assert len(text.splitlines()) <= 30 and max(map(len, text.splitlines()[:12])) <= 120
    assert report["files"][3] in text and text.endswith("\n- ".join(report["verdict"]["sentences"]))
    assert "| all, after " in text and "| hidden, before " in text
    row = report["after"]["all"]
    assert f"{row['coverage_90']:.2f}" in text and f"{row['sigma_px']:.2f}" in text
    assert "score" not in text.partition("nats a joint")[0] and len(whole.splitlines()) > len(text.splitlines())


def test_on_the_page_nothing_lies_over_anything_else(made, tmp_path, monkeypatch):
    """Titles, labels and legends of all plots."""
    _, path, weights, names = made
    figures = []
    monkeypatch.setattr(plots, "_write", lambda figure, path: figures.append(figure))
    subject.calibrate(load_config(path, ["MODEL.WEIGHTS", weights, "OUTPUT_DIR", str(tmp_path)]), names[0], resamples=5)
    FigureCanvasAgg(figures[0]).draw()
    boxes = []
    for axis in figures[0].axes:
        texts = [axis.xaxis.label, axis.yaxis.label, axis._left_title, axis.get_legend()]
        boxes += [(text, text.get_window_extent()) for text in texts if text is not None]
        boxes += [(axis, axis.get_window_extent())]
    boxes = [(what, box) for what, box in boxes if box.width and box.height]
    assert len(boxes) > 36 and all(box.x0 >= 0 and box.x1 <= figures[0].bbox.x1 for _, box in boxes)
    over = [(str(a), str(b)) for i, (a, one) in enumerate(boxes) for b, other in boxes[:i] if one.overlaps(other)]
    assert not over
