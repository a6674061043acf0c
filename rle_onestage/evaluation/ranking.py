"""How well scores rank: AP of the same detections under different scores, with bootstrap intervals over images."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from .ground_truth import GroundTruth
from .metrics import for_coco, load_results
from .operating import Curve
from .regions import middle
from .results import Result

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
# AP knows a score by its order alone, so only ratios of the powers count. Expected OKS keeps the power 1,
# and the product its meaning. Without it the power of the score branch is 1.
SCORE_POWERS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)
QUALITY_POWERS = (0.0, 0.25, 0.5, 1.0, 2.0)

Powers = tuple[float, float, float]  # of score, quality and expected OKS


class _Image(NamedTuple):
    """The detections of one image and what COCO would match them with."""

    rows: np.ndarray  # (D,) places in the list of results
    similarity: np.ndarray  # (D, M) OKS
    ignored: np.ndarray  # (M,) bool: people without joints, and crowds
    crowd: np.ndarray  # (M,) bool: may be matched many times


class Ranked(NamedTuple):
    """Detections in the order of a score, best first, as COCO's matching marks them."""

    image: np.ndarray  # (D,) index of the image
    right: np.ndarray  # (T, D) bool: matched to a person, at each OKS threshold
    wrong: np.ndarray  # (T, D) bool: matched to nobody
    row: np.ndarray  # (D,) place in the list of results


class Ranking:
    """Detections whose OKS with the labels is known, to be ranked by any score.

    What ``pycocotools`` computes for keypoints over all areas; the OKS is computed once, only the matching depends on
    the score.

    Args:
        truth: the labels.
        results: N COCO results of its images.
        oks_sigmas: (K,) COCO's OKS sigmas.
        max_people: results per image that count, best first (COCO: 20).

    Attributes:
        count: N.
        image_ids: ids of the I images in the file.
        images: their detections.
        people: (I,) people who count.
    """

    def __init__(
        self, truth: GroundTruth, results: list[Result], oks_sigmas: Sequence[float], *, max_people: int = 20
    ) -> None:
        self.max_people, self.count = max_people, len(results)
        dataset, results, self.image_ids = for_coco(truth.dataset, results)
        with contextlib.redirect_stdout(io.StringIO()):
            labels = COCO()
            labels.dataset = dataset
            labels.createIndex()
            evaluation = COCOeval(labels, load_results(labels, COCO, results), "keypoints")
            params = evaluation.params
            params.imgIds, params.catIds = sorted(labels.getImgIds()), [1]
            params.kpt_oks_sigmas = np.asarray(oks_sigmas, dtype=float)
            params.maxDets, params.iouThrs = [max(len(results), 1)], THRESHOLDS[:1]
            params.areaRng, params.areaRngLbl = [[0, 1e10]], ["all"]
            evaluation.evaluate()
        self.images = [self._image(evaluation, (i, 1)) for i in params.imgIds]
        self.people = np.array([np.sum(~image.ignored) for image in self.images], dtype=float)  # (I,)

    @staticmethod
    def _image(evaluation: Any, key: tuple[int, int]) -> _Image:
        """The detections of one image and category, of an evaluation that has run."""
        people, found = evaluation._gts.get(key, []), evaluation._dts.get(key, [])
        # COCO orders an image's detections by score before it computes their OKS, and numbers results from 1.
        found = [found[i] for i in np.argsort([-d["score"] for d in found], kind="mergesort")]
        ignored = np.array([bool(p["ignore"]) for p in people], dtype=bool)
        order = np.argsort(ignored, kind="mergesort")  # people who count come first
        similarity = np.array(evaluation.ious[key], dtype=float).reshape(len(found), len(people))
        crowd = np.array([bool(p["iscrowd"]) for p in people], dtype=bool)
        rows = np.array([d["id"] - 1 for d in found], dtype=int)
        return _Image(rows, similarity[:, order], ignored[order], crowd[order])

    def rank(self, scores: np.ndarray) -> Ranked:
        """Match anew in the order of other scores.

        Args:
            scores: (N,), one for each result.
        """
        index: list[np.ndarray] = []
        rows: list[np.ndarray] = []
        right: list[np.ndarray] = []
        wrong: list[np.ndarray] = []
        for number, image in enumerate(self.images):
            order = np.argsort(-scores[image.rows], kind="mergesort")[: self.max_people]
            matched, ignored = _match(image.similarity[order], image.ignored, image.crowd)
            index.append(np.full(len(order), number))
            rows.append(image.rows[order])
            right.append(matched & ~ignored)
            wrong.append(~matched)
        row = np.concatenate(rows)
        order = np.argsort(-scores[row], kind="mergesort")
        hits, misses = (np.concatenate(part, 1)[:, order] for part in (right, wrong))
        return Ranked(np.concatenate(index)[order], hits, misses, row[order])

    def curve(self, scores: np.ndarray) -> Curve:
        """Precision and recall at an OKS of 0.5 by the threshold of a score.

        Args:
            scores: (N,), one for each result.
        """
        ranked = self.rank(scores)
        return Curve.of(scores[ranked.row], ranked.right[0], ranked.wrong[0], float(self.people.sum()))

    def average_precision(self, ranked: Ranked, weights: np.ndarray | None = None) -> float:
        """AP of a ranking.

        Args:
            ranked: from :meth:`rank`.
            weights: (I,) how often each image counts; None: once.

        Returns:
            AP in percent; NaN without people.
        """
        weights = np.ones(len(self.images)) if weights is None else np.asarray(weights, dtype=float)
        people = weights @ self.people
        if not people:
            return float("nan")
        weight = weights[ranked.image]
        right, wrong = (np.cumsum(part * weight, 1) for part in (ranked.right, ranked.wrong))
        recall, precision = right / people, right / np.maximum(right + wrong, np.spacing(1))
        precision = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
        precision = np.concatenate([precision, np.zeros((len(precision), 1))], 1)
        return 100.0 * float(np.mean([p[np.searchsorted(r, RECALLS)] for r, p in zip(recall, precision)]))


def _match(similarity: np.ndarray, ignored: np.ndarray, crowd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """COCO's matching: each detection, best first, takes the most similar person that is left at each threshold.

    Args:
        similarity: (D, M) OKS.
        ignored: (M,) bool, ignored people last.
        crowd: (M,) bool.

    Returns:
        (T, D) bool whether matched, and (T, D) bool whether with an ignored person.
    """
    matched = np.zeros((len(THRESHOLDS), len(similarity)), dtype=bool)
    with_ignored = matched.copy()
    free = np.ones((len(THRESHOLDS), len(ignored)), dtype=bool)
    for d, row in enumerate(similarity):
        if not row.size or row.max() < THRESHOLDS[0]:
            continue
        able = free & (row >= THRESHOLDS[:, None])  # (T, M)
        counted = able & ~ignored
        able = np.where(counted.any(1, keepdims=True), counted, able)
        # Of equals COCO takes the last.
        best = len(row) - 1 - np.where(able, row, -1.0)[:, ::-1].argmax(1)
        matched[:, d] = able.any(1)
        with_ignored[:, d] = matched[:, d] & ignored[best]
        free[matched[:, d], best[matched[:, d]]] = False
        free |= crowd
    return matched, with_ignored


def powered(factors: np.ndarray, powers: Sequence[float]) -> np.ndarray:
    """Scores as the decoder computes them: the product of factors to their powers.

    Args:
        factors: (N, 3) of the score branch, the quality branch and expected OKS.
        powers: (3,).

    Returns:
        (N,) scores.
    """
    return np.prod(np.asarray(factors, dtype=float) ** np.asarray(powers, dtype=float), -1)


def has_quality(factors: np.ndarray) -> bool:
    """Whether the model has a quality branch, by the factors of its scores: without one that factor is 1.

    Args:
        factors: (N, 3), see :func:`powered`.
    """
    return bool((factors[:, 1] != 1).any())


def choose_powers(
    ranking: Ranking, factors: np.ndarray, *, start: Powers = (1.0, 1.0, 1.0)
) -> tuple[Powers, list[tuple[Powers, float]]]:
    """The powers of score, quality and expected OKS with the best AP, from a small grid.

    Args:
        ranking: of N results.
        factors: (N, 3), see :func:`powered`.
        start: powers that are kept unless others are better.

    Returns:
        The powers, and (powers, AP in percent) of all that were tried, best first.
    """
    qualities = QUALITY_POWERS if has_quality(factors) else (0.0,)
    tried: list[Powers] = [(float(start[0]), float(start[1]), float(start[2]))]
    tried += [(p, q, 1.0) for p in SCORE_POWERS for q in qualities] + [(1.0, q, 0.0) for q in qualities]
    scored = [(p, ranking.average_precision(ranking.rank(powered(factors, p)))) for p in dict.fromkeys(tried)]
    # A stable sort: the powers in use come before others that are no better.
    scored.sort(key=lambda pair: -np.nan_to_num(pair[1], nan=-1.0))
    return scored[0][0], scored


def compare_scores(
    ranking: Ranking, scores: Mapping[str, np.ndarray], *, baseline: str, resamples: int = 500, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """AP of the same detections under several scores, and differences from one of them.

    The interval is the percentile bootstrap's: images are drawn with replacement, the same ones for all scores. AP of a
    draw comes of weights of images, which ``scipy.stats.bootstrap`` cannot give.

    Args:
        ranking: of N results.
        scores: name -> (N,) scores.
        baseline: one of the names.
        resamples: of the images.
        seed: of the draws.

    Returns:
        Name -> ``AP``, ``AP_interval`` and ``difference``, ``difference_interval`` (from the baseline),
        in percent; intervals hold 95 %, and are NaN where fewer than :data:`~.regions.LEAST_IMAGES` images have people.
    """
    rng, images, labelled = np.random.default_rng(seed), len(ranking.images), int((ranking.people > 0).sum())
    draws = rng.multinomial(images, np.full(images, 1 / max(images, 1)), size=resamples) if images else np.zeros((1, 0))
    table: dict[str, dict[str, Any]] = {}
    ranked = {name: ranking.rank(np.asarray(values)) for name, values in scores.items()}
    drawn = {name: np.array([ranking.average_precision(r, w) for w in draws]) for name, r in ranked.items()}
    full = {name: ranking.average_precision(r) for name, r in ranked.items()}
    for name in scores:
        table[name] = {
            "AP": full[name],
            "AP_interval": middle(drawn[name], labelled),
            "difference": full[name] - full[baseline],
            "difference_interval": middle(drawn[name] - drawn[baseline], labelled),
        }
    return table
