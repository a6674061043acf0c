"""Could other sizes of the ellipses hold as much of the hidden joints as of the visible ones?"""

from collections import OrderedDict
from typing import NamedTuple

import numpy as np

from rle_onestage.evaluation.per_joint import Matches
from rle_onestage.evaluation.regions import REPORTED, distances
from rle_onestage.structures.error_density import ErrorDensity

from .tables import shown, table

QUARTERS = 4


class LabelledJoints(NamedTuple):
    """Labelled joints of the people that were matched; N joints, L levels."""

    ratio: np.ndarray  # (L, N) distance of the label over the radius of its ellipse, at the levels of REPORTED
    hidden: np.ndarray  # (N,) bool, labelled as hidden
    p_hidden: np.ndarray  # (N,) predicted probability, NaN where the model tells none
    image: np.ndarray  # (N,) index of the image


def labelled_joints(matches: Matches, density: ErrorDensity) -> LabelledJoints:
    """The labelled joints of matched people.

    Args:
        matches: with covariances.
        density: of the model's error.
    """
    chosen, distance = matches.visibility > 0, distances(matches)
    radii = [density.ellipse_radius(level).double().numpy() for level in REPORTED]
    image = np.unique(matches.image_id, return_inverse=True)[1]
    return LabelledJoints(
        ratio=np.stack([(distance / radius)[chosen] for radius in radii]),
        hidden=matches.visibility[chosen] == 1,
        p_hidden=1 - matches.visible[chosen],
        image=np.broadcast_to(image[:, None], chosen.shape)[chosen],
    )


def joined(parts: list[LabelledJoints]) -> LabelledJoints:
    """Joints of several sets as those of one."""
    images = np.cumsum([0, *(int(part.image.max(initial=-1)) + 1 for part in parts)])
    moved = [part._replace(image=part.image + start) for part, start in zip(parts, images)]
    return LabelledJoints(*(np.concatenate(values, axis=-1) for values in zip(*moved)))


def held_out(
    ratio: np.ndarray, group: np.ndarray, image: np.ndarray, level: float, *, folds: int = 8, draws: int = 10
) -> np.ndarray:
    """How often an ellipse holds its joint, where its size is a quantile on the other images.

    Args:
        ratio: (N,) distance of each label over the radius of its ellipse.
        group: (N,) int; each group has a factor of its own.
        image: (N,) index of the image of each joint.
        level: the probability that the ellipses are to have.
        folds: parts of the images; each part is held out once.
        draws: times that the images are parted anew.

    Returns:
        (N,) share of the draws in which the joint is within its ellipse. Joints of a group that the other images
        lack keep their ellipse.
    """
    random, inside = np.random.default_rng(0), np.zeros(len(ratio))
    for _ in range(draws):
        fold = random.permutation(int(image.max(initial=-1)) + 1)[image] % folds
        for part, own in ((part, own) for part in range(folds) for own in np.unique(group)):
            here, others = (fold == part) & (group == own), (fold != part) & (group == own)
            factor = np.quantile(ratio[others], level) if others.any() else 1.0
            inside[here] += ratio[here] <= factor
    return inside / draws


def hidden_table(joints: LabelledJoints) -> OrderedDict[str, dict[str, list[float]]]:
    """What the ellipses hold under several rules for their size, fitted on other images.

    Args:
        joints: of one or more sets.

    Returns:
        Rule -> ``visible`` and ``hidden`` -> percent that each level of ``REPORTED`` holds.
    """
    number = joints.ratio.shape[1]
    rules = OrderedDict[str, np.ndarray | None]({"as they are": None, "one factor": np.zeros(number, int)})
    if np.isfinite(joints.p_hidden).all():
        borders = np.quantile(joints.p_hidden, np.arange(1, QUARTERS) / QUARTERS)
        rules["a factor by quarters of P(hidden)"] = np.searchsorted(borders, joints.p_hidden)
    rules["a factor by the true flag"] = joints.hidden.astype(int)
    rows: OrderedDict[str, dict[str, list[float]]] = OrderedDict()
    for name, group in rules.items():
        inside = [
            ratio <= 1 if group is None else held_out(ratio, group, joints.image, level)
            for ratio, level in zip(joints.ratio, REPORTED)
        ]
        masks = {"visible": ~joints.hidden, "hidden": joints.hidden}
        rows[name] = {
            key: [100 * float(np.mean(part[mask])) if mask.any() else np.nan for part in inside]
            for key, mask in masks.items()
        }
    return rows


def format_hidden(rows: OrderedDict[str, dict[str, list[float]]]) -> str:
    """The table in Markdown."""
    levels = ", ".join(f"{100 * level:g}" for level in REPORTED)
    head = ["size of the ellipses", *(f"{levels} % of {key} joints" for key in ("visible", "hidden"))]
    return table(head, [[name, *(", ".join(map(shown, row[key])) for key in row)] for name, row in rows.items()])
