"""What a run reaches on a set: the evaluation's metrics, PCK, correlations, and sums by image for the bootstrap."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rle_onestage.evaluation import match_people
from rle_onestage.evaluation.calibration import has_std, log_likelihood, pearson
from rle_onestage.evaluation.per_joint import Matches, joint_oks, person_oks
from rle_onestage.evaluation.ranking import Ranked, Ranking
from rle_onestage.evaluation.regions import REPORTED, reported_key

from .trained import Trained

COVERAGE = tuple(reported_key("coverage", level) for level in REPORTED)
TORSO = ("left_shoulder", "right_hip")
SHARES = (0.1, 0.2)  # of the torso


class Measured(NamedTuple):
    """One run on one set."""

    figures: "OrderedDict[str, float]"
    ranking: Ranking
    ranked: Ranked
    nats: np.ndarray | None  # (I, 2) sums by image of the ranking: nats, labelled joints


def measure(run: Trained, dataset: str) -> Measured:
    """All that the table says of a run.

    Args:
        run: with results on the set.
        dataset: registered, of its config.
    """
    found, truth, sigmas = run.metrics(dataset), run.truth(dataset), run.oks_sigmas(dataset)
    results, most = run.results(dataset, truth), run.config().TEST.MAX_PEOPLE
    matches, names = match_people(truth, results, max_people=most), run.skeleton(dataset).names
    figures = OrderedDict((key, float(found["keypoints"][key])) for key in ("AP", "AP50", "AP75"))
    figures["OKS"] = 100 * float(person_oks(matches, sigmas).mean()) if len(matches.score) else float("nan")
    figures["median_relative"] = float(found["per_joint"]["median_relative"])
    figures |= pck(matches, names)
    figures |= correlations(matches, sigmas)
    calibration = found.get("calibration", {})
    keys = {"nats": "nll", **{key: key for key in COVERAGE}}
    figures |= {name: float(calibration[key]) for name, key in keys.items() if calibration.get(key) is not None}
    ranking = Ranking(truth, results, sigmas, max_people=most)
    ranked = ranking.rank(np.array([result["score"] for result in results]))
    return Measured(figures, ranking, ranked, _nats(run, matches, ranking.image_ids))


def pck(matches: Matches, names: Sequence[str]) -> dict[str, float]:
    """PCK: the share of joints nearer to their labels than a share of the torso, left shoulder to right hip.

    Args:
        matches: of labelled people; those without a labelled torso do not count.
        names: of the K joints.

    Returns:
        ``PCK_10``, ``PCK_20`` in percent; nothing where the skeleton has no torso, NaN without people.
    """
    if not set(TORSO) <= set(names):
        return {}
    a, b = (list(names).index(name) for name in TORSO)
    labelled = matches.visibility > 0
    known = labelled[:, a] & labelled[:, b]
    size = np.linalg.norm(matches.joints[:, a] - matches.joints[:, b], axis=-1)
    distance = np.linalg.norm(matches.predicted - matches.joints, axis=-1) / np.maximum(size, 1e-9)[:, None]
    counted = distance[labelled & known[:, None]]
    shares = [float((counted <= share).mean()) if len(counted) else float("nan") for share in SHARES]
    return {f"PCK_{100 * share:.0f}": 100 * found for share, found in zip(SHARES, shares)}


def correlations(matches: Matches, oks_sigmas: Sequence[float]) -> dict[str, float]:
    """Pearson's, of confidence with the OKS that is reached: ``r_person`` of the score, ``r_joint`` of the joint's."""
    labelled = matches.visibility > 0
    return {
        "r_person": pearson(matches.score, person_oks(matches, oks_sigmas)),
        "r_joint": pearson(matches.expected[labelled], joint_oks(matches, oks_sigmas)[labelled]),
    }


def _nats(run: Trained, matches: Matches, image_ids: Sequence) -> np.ndarray | None:
    density = run.density() if has_std(matches) else None
    if density is None:
        return None
    labelled = matches.visibility > 0
    nats = np.where(labelled, -log_likelihood(matches, density), 0).sum(1)
    place = {image: number for number, image in enumerate(image_ids)}
    sums = np.zeros((len(image_ids), 2))
    np.add.at(sums, [place[image] for image in matches.image_id.tolist()], np.stack([nats, labelled.sum(1)], 1))
    return sums
