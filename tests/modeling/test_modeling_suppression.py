"""Suppression as products of matrices is the sequential one, whatever depends on whatever."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rle_onestage.modeling.nms import suppress


def greedy(overlap, scores, threshold):
    """The textbook's, of one image; ties go to the lower index."""
    kept = np.zeros(len(scores), bool)
    for index in np.argsort(-scores, kind="stable"):
        kept[index] = not (kept & (overlap[:, index] > threshold)).any()
    return kept


@given(st.data(), st.integers(1, 30), st.sampled_from([0.0, 0.3, 0.5, 0.9]))
def test_it_is_the_greedy_one(data, count, threshold):
    # Few values, so that scores and overlaps are equal often.
    values = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
    scores = data.draw(arrays.arrays(np.float32, count, elements=values))
    overlap = data.draw(arrays.arrays(np.float32, (count, count), elements=values))
    overlap = np.maximum(overlap, overlap.T)
    kept = suppress(torch.from_numpy(overlap)[None], torch.from_numpy(scores)[None], threshold)
    assert kept[0].tolist() == greedy(overlap, scores, threshold).tolist()


def test_the_longest_chain_is_followed_to_its_end():
    count = 130
    overlap = torch.diag(torch.ones(count - 1), 1)
    scores = torch.linspace(1, 0.1, count)
    batch = suppress(torch.stack([overlap + overlap.T, torch.zeros(count, count)]), scores.expand(2, -1), 0.5)
    assert batch[0].tolist() == [index % 2 == 0 for index in range(count)] and batch[1].all()
