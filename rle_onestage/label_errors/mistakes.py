"""The likeliest mistake behind a person's labels: what was swapped, misplaced, or should not be labelled."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ..structures.skeleton import Skeleton, split_side
from .evidence import Case, Evidence

# Against each mistake beforehand, in nats: what the labels must gain before it is believed.
SWAPPED = 3.0
MISPLACED = 1.0
EXCHANGED = 4.0  # two labels along a limb, as neck and head
ELSEWHERE = 4.0  # on another joint, or on somebody else: one of many places
LOST = 3.0  # the model has seen this person all wrong, and no label is to blame
Pairs = Sequence[tuple[int, int]]
PARTS = {"legs": ("hip", "knee", "ankle", "foot"), "arms": ("shoulder", "elbow", "wrist", "hand")}


class Mistake(NamedTuple):
    """One thing wrong with a person's labels."""

    kind: str  # swapped, exchanged, misplaced, other joint, other person, surplus
    joints: tuple[int, ...]  # the labels concerned
    gain: float  # nats, the prior's odds taken off
    place: int = -1  # for "other joint": on which
    group: str = ""  # for "swapped": of which group all labels are concerned


class Explanation(NamedTuple):
    """What would make a person's labels likeliest."""

    mistakes: list[Mistake]
    gain: float  # nats in all, against the labels as they are and against a model that is lost
    keypoints: np.ndarray  # (K, 3) corrected: x, y, visibility


def groups_of_pairs(skeleton: Skeleton) -> dict[str, frozenset[int]]:
    """Sets of flip pairs that are swapped together, by name: all, legs, arms, and each pair alone.

    Args:
        skeleton: the joints.
    """
    parts = [split_side(skeleton.names[left])[0] for left, _ in skeleton.flip_pairs]
    groups = {"all": frozenset(range(len(parts)))}
    for name, words in PARTS.items():
        groups[name] = frozenset(i for i, part in enumerate(parts) if part.split()[-1:] and part.split()[-1] in words)
    groups["body"] = groups["legs"] | groups["arms"]
    groups.update({part: frozenset([i]) for i, part in enumerate(parts)})
    out: dict[str, frozenset[int]] = {}
    for name, pairs in groups.items():
        if pairs and pairs not in out.values():
            out[name] = pairs
    return out


def explain(case: Case, evidence: Evidence, skeleton: Skeleton) -> Explanation:
    """The explanation of a person's labels that gains most; without mistakes where none gains more than it costs.

    Sides are swapped first (one group of pairs, then single pairs), then each label is looked at on its own. What the
    mistakes gain does not count as far as it only shows that the model is lost: enough labels must agree with the model
    once the mistakes are mended.

    Args:
        case: :class:`~.evidence.Case`.
        evidence: of it.
        skeleton: the joints.

    Returns:
        :class:`Explanation`.
    """
    labelled = case.visibility > 0
    pairs = skeleton.flip_pairs
    gains = np.array([_swap_gain(evidence, labelled, pair) for pair in pairs])
    best: list[Mistake] = []
    most = -np.inf
    groups: dict[str, frozenset[int]] = {"": frozenset(), **groups_of_pairs(skeleton)}
    for name, group in groups.items():
        swaps = _swaps(name, group, gains, labelled, pairs)
        joints = _single(evidence, labelled, skeleton, {p for m in swaps for p in m.joints})
        found = sum(m.gain for m in swaps + joints)
        if found > most:
            best, most = swaps + joints, found
    mistakes = sorted(best, key=lambda m: -m.gain)
    before = np.diag(evidence.own)[labelled].sum()
    gain = before + most - np.logaddexp(before, -LOST)
    return Explanation(mistakes, float(gain), _corrected(case, mistakes, skeleton))


def _swap_gain(evidence: Evidence, labelled: np.ndarray, pair: tuple[int, int]) -> float:
    """Nats that a pair's labels gain as each other's; a label without a partner changes its name."""
    logit = np.log(evidence.presence) - np.log1p(-evidence.presence)
    gain = 0.0
    for j, k in (pair, pair[::-1]):
        if labelled[j]:
            gain += evidence.own[j, k] - evidence.own[j, j]
            gain += 0.0 if labelled[k] else logit[k] - logit[j]
    return gain


def _swaps(name: str, group: frozenset[int], gains: np.ndarray, labelled: np.ndarray, pairs: Pairs) -> list[Mistake]:
    """The group as one mistake, with single pairs taken out or added where that gains more than a mistake costs."""
    usable = {i for i, pair in enumerate(pairs) if labelled[list(pair)].any()}
    kept = {i for i in group & usable if gains[i] > -SWAPPED}
    mistakes = []
    if kept:
        taken_out = len(group & usable) - len(kept)
        gain = sum(gains[i] for i in kept) - SWAPPED * (1 + taken_out)
        mistakes.append(_swap(kept, gain, labelled, pairs, "" if taken_out else name))
    alone = (i for i in usable - group if gains[i] > SWAPPED)
    return mistakes + [_swap([i], gains[i] - SWAPPED, labelled, pairs) for i in alone]


def _swap(chosen: Iterable[int], gain: float, labelled: np.ndarray, pairs: Pairs, name: str = "") -> Mistake:
    joints = tuple(j for i in sorted(chosen) for j in pairs[i] if labelled[j])
    return Mistake("swapped", joints, float(gain), group=name)


def _single(evidence: Evidence, labelled: np.ndarray, skeleton: Skeleton, swapped: set[int]) -> list[Mistake]:
    """Mistakes of single labels, and labels exchanged along a limb, after the swaps."""
    taken_for = [skeleton.flip_index[j] if j in swapped else j for j in range(skeleton.num_joints)]
    best = {int(j): _elsewhere(evidence, int(j), taken_for[j], skeleton) for j in np.flatnonzero(labelled)}
    exchanged = []
    for a, b in skeleton.limbs:
        if a in best and b in best and skeleton.flip_index[a] != b:
            own, (i, j) = evidence.own, (taken_for[a], taken_for[b])
            gain = own[a, j] + own[b, i] - own[a, i] - own[b, j] - EXCHANGED
            if gain > max(best[a].gain, 0) + max(best[b].gain, 0):
                exchanged.append(Mistake("exchanged", (a, b), float(gain)))
                del best[a], best[b]
    return exchanged + [m for m in best.values() if m.gain > 0]


def _elsewhere(evidence: Evidence, joint: int, taken_for: int, skeleton: Skeleton) -> Mistake:
    """The likeliest mistake of one label."""
    now, away = evidence.own[joint, taken_for], evidence.own[joint].copy()
    away[[joint, skeleton.flip_index[joint]]] = -np.inf
    place = int(away.argmax())
    absent = np.log1p(-evidence.presence[taken_for]) - np.log(evidence.presence[taken_for])
    options = [
        Mistake("misplaced", (joint,), float(-now - MISPLACED)),
        Mistake("surplus", (joint,), float(absent - now - MISPLACED)),
        Mistake("other joint", (joint,), float(away[place] - now - ELSEWHERE), place),
        Mistake("other person", (joint,), float(evidence.others[joint] - now - ELSEWHERE)),
    ]
    return max(options, key=lambda m: m.gain)


def _corrected(case: Case, mistakes: list[Mistake], skeleton: Skeleton) -> np.ndarray:
    """Labels with the mistakes mended: swapped back, moved to the prediction, or taken away."""
    keypoints = np.concatenate([case.labels, case.visibility[:, None]], 1)
    out, flip = keypoints.copy(), skeleton.flip_index
    swapped = [j for m in mistakes if m.kind == "swapped" for j in m.joints]
    out[swapped] = 0
    for j in swapped:
        out[flip[j]] = keypoints[j]
    for mistake in mistakes:
        targets = [flip[j] if j in swapped else j for j in mistake.joints]
        if mistake.kind == "exchanged":
            out[targets] = out[targets[::-1]]
        elif mistake.kind == "surplus":
            out[targets] = 0
        elif mistake.kind != "swapped":
            out[targets, :2] = case.views[0].joints[targets]
    return out


def describe(explanation: Explanation, skeleton: Skeleton) -> str:
    """The mistakes in words, e.g. "legs: left and right swapped; right wrist misplaced".

    Args:
        explanation: of a person.
        skeleton: the joints.
    """
    return "; ".join(_sentence(m, skeleton) for m in explanation.mistakes)


def _sentence(mistake: Mistake, skeleton: Skeleton) -> str:
    names = [skeleton.names[j].replace("_", " ") for j in mistake.joints]
    if mistake.kind == "swapped":
        return _swap_sentence(mistake, skeleton, names)
    return {
        "exchanged": f"{' and '.join(names)} exchanged",
        "misplaced": f"{names[0]} misplaced",
        "surplus": f"{names[0]} should not be labelled",
        "other joint": f"{names[0]} lies on the {skeleton.names[mistake.place].replace('_', ' ')}",
        "other person": f"{names[0]} lies on somebody else",
    }[mistake.kind]


def _swap_sentence(mistake: Mistake, skeleton: Skeleton, names: list[str]) -> str:
    if mistake.group in ("all", "body"):
        return "left and right swapped"
    if len(mistake.joints) == 1:
        return f"{names[0]} is the {skeleton.names[skeleton.flip_index[mistake.joints[0]]].replace('_', ' ')}"
    if mistake.group in PARTS:
        return f"{mistake.group}: left and right swapped"
    parts = dict.fromkeys(split_side(skeleton.names[j])[0] for j in mistake.joints)
    return f"{', '.join(parts)}: left and right swapped"
