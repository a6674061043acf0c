"""Whether a model is good enough on a data set for what it says of the labels there."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from ..errors import counted
from ..structures.oks import pairwise_oks
from ..structures.skeleton import Skeleton
from .evidence import Case

# Below this mean OKS a model contradicts more right labels than wrong ones. With 8.5 AP on LSPET 26 of the first 50
# people had right labels, and 18 wrong ones (docs/label_errors.md).
LEAST_OKS = 0.5
# No set in use has so many people with wrong labels. On synthetic people, whose labels are all right, a model of 52 AP
# contradicts 44 in 100.
MOST_UNLIKELY = 0.25


class Trust(NamedTuple):
    """What tells how far a model's verdict on labels goes."""

    oks: float  # mean over the labelled people; who is not found counts 0; NaN without people
    seen: int  # people whom all views found, so that their labels are looked at
    unlikely: int  # how many of them have unlikely labels

    def doubt(self) -> str:
        """Why the verdict is not to be trusted, as a clause; empty where it is."""
        if self.oks < LEAST_OKS:
            return (
                f"its joints have a mean OKS of {self.oks:.2f} with the labels (below {LEAST_OKS:g}; people who are "
                "not found count 0)"
            )
        if not self.seen:
            return "it finds nobody in all of its views, so no label was looked at"
        if self.unlikely > MOST_UNLIKELY * self.seen:
            return (
                f"it contradicts labels of {self.unlikely} of the {counted(self.seen, 'person', 'people')} whom it "
                f"finds (more than {100 * MOST_UNLIKELY:g} %)"
            )
        return ""


def measure_trust(cases: Sequence[Case], skeleton: Skeleton, *, seen: int, unlikely: int) -> Trust:
    """Compare the predictions of the straight view with the labels.

    Args:
        cases: labelled people and their predictions.
        skeleton: the joints.
        seen: see :class:`Trust`.
        unlikely: see :class:`Trust`.
    """
    found = [case for case in cases if case.views]
    if not cases or not found:
        return Trust(0.0 if cases else float("nan"), seen, unlikely)
    columns = (
        [case.views[0].joints for case in found],
        [case.labels for case in found],
        [case.visibility > 0 for case in found],
        [case.annotation["area"] for case in found],
    )
    predicted, labels, labelled, area = (torch.from_numpy(np.array(column)) for column in columns)
    oks_sigmas = torch.tensor(skeleton.oks_sigmas, dtype=torch.float64)
    similarity = pairwise_oks(predicted[:, None], labels[:, None], labelled[:, None], area[:, None], oks_sigmas)
    return Trust(float(similarity.sum()) / len(cases), seen, unlikely)
