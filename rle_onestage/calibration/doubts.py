"""What a reader of a calibration should know before believing it."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from detectron2.config import CfgNode

from ..data.trained import trained_on
from ..errors import counted
from .samples import Sample

# With fewer, a joint's own quantiles count less than those of all joints (two coordinates each, see correction.py).
LEAST_PEOPLE = 50
# With fewer labels, a joint's own correction is hardly told from chance.
LEAST_LABELS = 20
# Below, a model finds so few people rightly that their errors say little of those that it would make.
LEAST_AP = 5.0


class Reservation(NamedTuple):
    """What makes a report less than it seems, and what to do about it."""

    reason: str  # a clause
    remedy: str  # an imperative

    def __str__(self) -> str:
        return f"{self.reason}; {self.remedy}"


def find_doubts(fit: Sample, held_out: Sample, report: Mapping[str, Any]) -> list[Reservation]:
    """What makes a report less than it seems; nothing where all is well.

    Args:
        fit: what was fitted on.
        held_out: what is reported on.
        report: with ``dataset``, ``fit_dataset``, ``images``, ``people`` (matched), ``joints``, ``correction`` and
            ``scores``.
    """
    few = _of_few(report) or _of_rare_joints(report)
    return [doubt for doubt in (_of_shared(fit, held_out, report), few, _of_weak(report)) if doubt]


def doubt_of_trained(cfg: CfgNode, names: Sequence[str]) -> Reservation | None:
    """About images that the model was trained on.

    Args:
        cfg: the config, whose data sets are registered.
        names: of the data sets to fit and to report on.
    """
    which = trained_on(cfg, names)
    if not which:
        return None
    return Reservation(
        f"{which}, where errors are smaller than on new images, so the corrected sigmas are too small",
        "give --dataset a set without them, such as the part held_out of a label file",
    )


def _of_shared(fit: Sample, held_out: Sample, report: Mapping[str, Any]) -> Reservation | None:
    """About images that are in both halves."""
    fitted = {fit.files[i] for i in fit.truth.images}
    shared = [i for i in held_out.truth.images if held_out.files[i] in fitted]
    if not shared:
        return None
    people = held_out.truth.by_image()
    number = sum(len(people.get(i, ())) for i in shared)
    return Reservation(
        f"{len(shared)} of {counted(len(held_out.truth.images), 'image')} to report on ({report['dataset']}), with "
        f"{counted(number, 'labelled person', 'labelled people')}, are also fitted on ({report['fit_dataset']}; the "
        f"first is {os.path.basename(held_out.files[shared[0]])}), so the report is too good",
        "give sets without common images",
    )


def _of_few(report: Mapping[str, Any]) -> Reservation | None:
    """About halves with few people."""
    people, joints, images = report["people"], report["joints"], report["images"]
    if min(people.values()) >= LEAST_PEOPLE:
        return None
    fit, held_out = (
        f"{counted(people[key], 'matched person', 'matched people')} with {counted(joints[key], 'labelled joint')} in "
        f"{counted(images[key], 'image')}"
        for key in ("fit", "held_out")
    )
    return Reservation(
        f"there are few people: {fit} to fit on, {held_out} to report on; with fewer than {LEAST_PEOPLE} the "
        "percentages depend on chance",
        f"give more labelled images, so that {LEAST_PEOPLE} or more people are matched in either half",
    )


def _of_rare_joints(report: Mapping[str, Any]) -> Reservation | None:
    """About joints with few labels where there are enough people."""
    rare = {name: row["labels"] for name, row in report["correction"].items() if row["labels"] < LEAST_LABELS}
    if not rare:
        return None
    first = ", ".join(f"{name} {number}" for name, number in list(rare.items())[:5])
    return Reservation(
        f"{counted(len(rare), 'joint')} of {len(report['correction'])} had fewer than {LEAST_LABELS} labels to fit on "
        f"({first}{', ...' * (len(rare) > 5)}), so their correction is nearly that of all joints",
        "give more labels of these joints",
    )


def _of_weak(report: Mapping[str, Any]) -> Reservation | None:
    """About a model that finds hardly anybody rightly."""
    ap = report["scores"]["expected OKS"]["AP"]
    if not ap < LEAST_AP:  # also NaN
        return None
    return Reservation(
        f"the model has {ap:.1f} AP on the held-out images (below {LEAST_AP:g}), so the correction is that of the few "
        "people whom it finds",
        "train the model longer",
    )
