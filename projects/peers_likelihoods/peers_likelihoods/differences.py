"""How much of a difference between two rules is chance of the images."""

from typing import Any

import numpy as np

from rle_onestage.evaluation.per_joint import Matches

from .measures import Measured


def people_nats(measured: Measured) -> dict[tuple, tuple[Any, int, float]]:
    """By matched person: its image, its labelled joints, and the sum of their nats.

    A person is known by the image and the labels, which are the same whoever is measured.
    """
    matches: Matches = measured.matches
    labelled = matches.visibility > 0
    found = {}
    for image, joints, known, nats in zip(matches.image_id.tolist(), matches.joints, labelled, measured.nats):
        found[image, joints.tobytes()] = (image, int(known.sum()), float(nats[known].sum()))
    return found


def over_images(own: Measured, base: Measured, *, resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Nats a joint of one rule less another's, over the people whom both found.

    Args:
        own: of the rule.
        base: of the rule that it is compared with, on the same set.
        resamples: of the images.
        seed: of the draws.

    Returns:
        dict of ``difference``, ``interval`` (95 % of the paired bootstrap over images) and ``joints``; NaN without a
        common person.
    """
    first, second = people_nats(own), people_nats(base)
    sums: dict[Any, np.ndarray] = {}
    for key in sorted(first.keys() & second.keys(), key=str):
        image, joints, nats = first[key]
        sums.setdefault(image, np.zeros(2))[:] += (nats - second[key][2], joints)
    if not sums:
        return {"difference": float("nan"), "interval": [float("nan")] * 2, "joints": 0}
    table = np.stack(list(sums.values()))  # (I, 2)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(table), np.full(len(table), 1 / len(table)), size=resamples) @ table
    drawn = draws[:, 0] / np.maximum(draws[:, 1], 1)
    total = table.sum(0)
    return {
        "difference": float(total[0] / total[1]),
        "interval": np.percentile(drawn, [2.5, 97.5]).tolist(),
        "joints": int(total[1]),
    }
