"""Coverage of a model's intervals by joint, size of the person and visibility, with its correction and without."""

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from rle_onestage.errors import ConfigError
from rle_onestage.evaluation import match_people
from rle_onestage.evaluation.calibration import calibration_table
from rle_onestage.evaluation.per_joint import Matches
from rle_onestage.evaluation.ranking import Ranking, compare_scores, has_quality, powered
from rle_onestage.evaluation.regions import REPORTED

from .labels import LabelledSet
from .matching import SIZES
from .runs import Ours
from .tables import shown, table

if TYPE_CHECKING:
    from rle_onestage.modeling.postprocessing import Decoder
    from rle_onestage.structures.error_density import ErrorDensity


def chosen(matches: Matches, mask: np.ndarray) -> Matches:
    """The people (S,) that a mask picks."""
    return Matches(*(part[mask] for part in matches))


def coverage_table(
    matches: Matches,
    sigmas: list[float] | tuple[float, ...],
    names: list[str] | tuple[str, ...],
    density: "ErrorDensity",
) -> OrderedDict:
    """The package's table of calibration, with our classes of size in place of its thirds, also for hidden joints.

    Args:
        matches: people matched at a box IoU of 0.5.
        sigmas: OKS sigmas (K,).
        names: joint names (K).
        density: the model's :class:`~rle_onestage.structures.error_density.ErrorDensity`.

    Returns:
        OrderedDict ``all``, ``visible``, ``hidden``, the classes of size, the same for ``hidden``, and the joints ->
        see :func:`~rle_onestage.evaluation.calibration.calibration_table`.
    """
    whole = calibration_table(matches, sigmas, names, density)
    rows = OrderedDict((key, whole[key]) for key in ("all", "visible", "hidden"))
    tables = {}
    for name, (low, high) in SIZES.items():
        part = chosen(matches, (matches.area >= low) & (matches.area < high))
        tables[name] = calibration_table(part, sigmas, (), density)
    rows |= {name: own["all"] for name, own in tables.items()}
    rows |= {f"hidden, {name}": own["hidden"] for name, own in tables.items()}
    return rows | {name: whole[name] for name in names}


def is_corrected(decoder: "Decoder") -> bool:
    """Whether a model came with a correction of its sigmas."""
    identity = decoder.correction.new_tensor([0.0, 1.0])
    return bool(decoder.intervals.any()) or not bool((decoder.correction == identity).all())


def coverage(model: Ours, labelled: LabelledSet, powers: tuple, *, resamples: int = 1000) -> dict:
    """Run a model on a set as it is and without its correction, which is then gone.

    Args:
        model: with a decoder.
        labelled: the set, with its folder.
        powers: (3,) of person, quality and expected OKS in its score.
        resamples: of the images, for intervals of AP.

    Returns:
        dict of ``corrected`` (whether there was a correction), ``before`` (without it) and ``after``: tables, ``after``
        only with a correction; and ``scores``: AP of the same detections, as they are with the correction, by the
        person score alone, with the quality, with the expected OKS, and as the config has it.

    Raises:
        ConfigError: the architecture predicts no sigmas.
    """
    decoder = getattr(model.predictor.model, "decoder", None)
    if decoder is None:
        raise ConfigError("the architecture predicts no sigmas, so there are no intervals to look at; use RLEOneStage")
    corrected, tables = is_corrected(decoder), {}
    for key in ("after", "before") if corrected else ("before",):
        if key == "before":
            decoder.reset_correction()
        results = model.results(labelled)
        density = model.predictor.error_density.to("cpu")
        matches = match_people(labelled.truth, results)
        tables[key] = coverage_table(matches, labelled.skeleton.oks_sigmas, labelled.skeleton.names, density)
        if key == "after" or not corrected:
            scores = score_table(labelled, results, powers, resamples=resamples)
    return {"set": labelled.name, "corrected": corrected, **tables, "scores": scores}


def score_table(labelled: LabelledSet, results: list[dict], powers: tuple, *, resamples: int = 1000) -> dict:
    """AP of the same detections under several scores, see :func:`~rle_onestage.evaluation.ranking.compare_scores`."""
    factors = np.array([r["score_factors"] for r in results], dtype=float).reshape(-1, 3)
    scores = {"person": powered(factors, (1, 0, 0))}
    if has_quality(factors):
        scores["person, quality"] = powered(factors, (1, 1, 0))
    scores["person, expected OKS"] = powered(factors, (1, 0, 1))
    scores["as configured"] = powered(factors, powers)
    ranking = Ranking(labelled.truth, results, labelled.skeleton.oks_sigmas)
    return compare_scores(ranking, scores, baseline="person", resamples=resamples)


def format_coverage(report: dict) -> str:
    """What :func:`coverage` gives, as Markdown."""
    before, after = report["before"], report.get("after")
    head = ["", "joints", *(f"{100 * level:g} %" for level in REPORTED), "ECE", "nats", "median sigma, %"]
    keys = [*(f"coverage_{100 * level:g}" for level in REPORTED), "ece", "nll", "median_sigma_relative"]
    rows = [
        (name, row["joints"], *(_beside(row, after and after[name], key) for key in keys))
        for name, row in before.items()
    ]
    what = "without the correction and, after the arrow, with it" if after else "of a model without a correction"
    parts = [
        f"## {report['set']}",
        f"Share of coordinates within the intervals, {what}; people matched at a box IoU of 0.5; sizes are roots of "
        "the labelled area, as is the unit of the median sigma; ECE: mean error over the levels 5 to 95 %, in %.",
        table(head, rows),
        "AP of the same detections by score, and the difference from the person score alone (95 % over images):",
    ]
    rows = [
        (name, shown(row["AP"]), "{:+.2f} ({:+.2f} to {:+.2f})".format(row["difference"], *row["difference_interval"]))
        for name, row in report["scores"].items()
    ]
    return "\n\n".join([*parts, table(("score", "AP", "difference"), rows)]) + "\n"


def _beside(before: dict, after: dict | None, key: str) -> str:
    """A metric without the correction and with it."""
    digits = 2 if key == "nll" else 1
    one = shown(before[key], digits)
    return one if after is None else f"{one} -> {shown(after[key], digits)}"
