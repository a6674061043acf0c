"""A comparison of labels as a table, beside metrics that were published for others."""

import math
from typing import NamedTuple

import numpy as np

from ..errors import counted
from ..structures.skeleton import split_side
from ..utils.tables import table_text
from .scoring import Comparison


class Published(NamedTuple):
    """Metrics of somebody else's labels, shares from 0 to 1; NaN: not told."""

    name: str
    precision: float
    outcomes: tuple[float, float, float, float]  # labelled, ignored, inside, missed
    kept: float
    oks: float
    error: float
    bad: float
    extra: float
    iou: float


# MoveNet's labels (MultiPose finds, Thunder looks again) on 300 images, measured with the thresholds chosen there.
TEACHERS = (
    Published("MoveNet, train2017", 0.977, (0.60, 0.30, 0.06, 0.05), 0.84, 0.922, 0.032, 0.022, 0.19, 0.89),
    Published("MoveNet, val2017", 0.963, (0.68, 0.18, 0.07, 0.06), 0.82, 0.916, 0.032, 0.027, 0.20, 0.84),
)
# Of the same labels by part, both sets of images together: share kept, OKS.
TEACHER_PARTS = {
    "nose": (0.92, 0.89), "eye": (0.90, 0.91), "ear": (0.85, 0.91), "shoulder": (0.93, 0.93), "elbow": (0.79, 0.92),
    "wrist": (0.69, 0.92), "hip": (0.86, 0.92), "knee": (0.73, 0.93), "ankle": (0.72, 0.93),
}  # fmt: skip


def format_comparison(comparison: Comparison, *, teachers: bool = False) -> str:
    """A comparison as text: people, then joints by part of the body.

    Args:
        comparison: of two sets of labels.
        teachers: put the published metrics of MoveNet's labels beside them.
    """
    published = TEACHERS if teachers else ()
    everything = list(range(comparison.skeleton.num_joints))
    joints = comparison.of_joints(everything)
    share = comparison.share
    own = Published(
        "these labels", comparison.precision, (share("labelled"), share("ignored"), share("inside"), share("missed")),
        joints["kept"], joints["oks"], joints["error"], joints["bad"], joints["extra"], _median(comparison.iou),
    )  # fmt: skip
    columns = [_cells(each) for each in (own, *published)]
    rows = [list(row) for row in zip(ROWS, *columns)]
    rows.append(["rms of error / sigma", _number(joints["z"], 2), *([""] * len(published))])
    head = ["", *(each.name for each in (own, *published))]
    about = (
        f"{counted(comparison.images, 'image')} ({comparison.complete_images} with all people marked, "
        f"{counted(comparison.labelled, 'labelled person', 'labelled people')} there), "
        f"{counted(len(comparison.outcome), 'person', 'people')} with joints in the ground truth, "
        f"{len(comparison.kept)} of them labelled; {counted(comparison.ignored, 'ignore region')}"
    )
    parts = table_text(_part_rows(comparison, teachers), _part_head(teachers))
    return f"{about}\n\n{table_text(rows, head)}\n\n{parts}"


ROWS = (
    "labelled people that are people",
    "people labelled / ignored / inside another's box / missed",
    "their labelled joints kept",
    "kept joints: mean OKS",
    "median error / sqrt(area)",
    "share with OKS below 0.5",
    "kept joints that are not labelled there",
    "boxes: median IoU",
)


def _cells(metrics: Published) -> list[str]:
    shares = " / ".join(_number(100 * v, 0) for v in metrics.outcomes) + " %"
    return [
        _percent(metrics.precision), shares, _percent(metrics.kept, 0), _number(metrics.oks, 3),
        _number(metrics.error, 3), _percent(metrics.bad), _percent(metrics.extra, 0), _number(metrics.iou, 2),
    ]  # fmt: skip


def _part_head(teachers: bool) -> list[str]:
    head = ["joints", "kept", "OKS", "median error", "OKS below 0.5", "not labelled there", "error / sigma"]
    return [*head, "MoveNet kept", "MoveNet OKS"] if teachers else head


def _part_rows(comparison: Comparison, teachers: bool) -> list[list[str]]:
    groups: dict[str, list[int]] = {}
    for joint, name in enumerate(comparison.skeleton.names):
        groups.setdefault(split_side(name)[0], []).append(joint)
    rows = []
    for part, joints in groups.items():
        f = comparison.of_joints(joints)
        row = [part, _percent(f["kept"], 0), _number(f["oks"], 3), _number(f["error"], 3), _percent(f["bad"]),
               _percent(f["extra"], 0), _number(f["z"], 2)]  # fmt: skip
        kept, oks = TEACHER_PARTS.get(part, (math.nan, math.nan))
        rows.append([*row, _percent(kept, 0), _number(oks, 2)] if teachers else row)
    return rows


def _median(values: np.ndarray) -> float:
    ordered = sorted(values.tolist())
    middle = len(ordered) // 2
    return (ordered[middle] + ordered[~middle]) / 2 if ordered else math.nan


def _number(value: float, decimals: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{decimals}f}"


def _percent(value: float, decimals: int = 1) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.{decimals}f} %"
