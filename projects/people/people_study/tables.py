"""Tables of the report: the same metrics of several models side by side, as data and as Markdown."""

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

from tabulate import tabulate

from rle_onestage.errors import ConfigError

from .bootstrap import compare
from .joints import joint_table
from .labels import TOGETHER, LabelledSet, read_results_of, together
from .likelihood import compare_nats, read_nats
from .matching import COCO_AREAS, Matching, match, metrics

if TYPE_CHECKING:
    from people_study.labels import Together


_MAIN = ("AP", "AP50", "AP75", "AR", "APm", "APl")
_COMPARED = ("AP", "AP50", "AP75", "AR")


class Run(NamedTuple):
    """A file of results."""

    model: str
    side: int  # of the network's input, pixels
    set_name: str
    path: str


class _Measured(NamedTuple):
    """One model at one side on one set."""

    results: list
    nats: list | None
    matching: Matching


def make_report(
    sets: list[LabelledSet], runs: list[Run], *, baseline: str | None = None, resamples: int = 1000
) -> dict[str, Any]:
    """Everything that results and labels say.

    Args:
        sets: each by itself; several are also measured together.
        runs: files of results.
        baseline: model that the others are compared with; None: the first.
        resamples: of the images, for the intervals.

    Returns:
        dict of ``sets`` (images and people of each), ``baseline``, and for each set, by side and model: ``metrics``,
        ``differences`` (see :func:`~.bootstrap.compare`), ``nats`` (of models whose results have a file of
        likelihoods beside them, see :func:`~.likelihood.compare_nats`) and ``joints``.

    Raises:
        ConfigError: a run names no set, there are two of the same, or the baseline has no results.
        DataError: a file cannot be used.
    """
    baseline = baseline or runs[0].model
    if baseline not in {run.model for run in runs}:
        raise ConfigError(f"--baseline {baseline} has no results; name one of those given with --results")
    groups, found = _with_together(sets, _read(sets, runs))
    report: dict[str, Any] = {"baseline": baseline, "resamples": resamples, "sets": OrderedDict()}
    for part in ("metrics", "differences", "nats", "joints"):
        report[part] = OrderedDict()
    for labelled in groups:
        people = sum(len(each.area) for each in labelled.truth.people().values())
        report["sets"][labelled.name] = {"images": len(labelled.truth.images), "people": people}
        for side, models in sorted(found[labelled.name].items()):
            for part, table in _side(labelled, models, baseline, resamples).items():
                report[part].setdefault(labelled.name, OrderedDict())[side] = table
    return report


def _read(sets: "list[LabelledSet]", runs: "list[Run]") -> dict[str, dict[int, dict]]:
    """set -> side -> model -> (results, nats)."""
    by_name = {s.name: s for s in sets}
    found: dict[str, dict[int, dict]] = {s.name: {} for s in sets}
    for run in runs:
        if run.set_name not in by_name:
            raise ConfigError(f"{run.path} is said to be of set {run.set_name}, which --set does not name")
        models = found[run.set_name].setdefault(run.side, OrderedDict())
        if run.model in models:
            raise ConfigError(f"two files are {run.model} at {run.side} on {run.set_name}; give one")
        labelled, nats = by_name[run.set_name], read_nats(run.path)
        if nats is not None:  # a list may have cut the set
            nats = [row for row in nats if row["image_id"] in labelled.truth.images]
        models[run.model] = (read_results_of(labelled, run.path), nats)
    return found


def _with_together(
    sets: "list[LabelledSet]", found: dict[str, dict[int, dict]]
) -> "tuple[list[LabelledSet], dict[str, dict]]":
    """The sets, and all as one for models that have results on every set; and their matched results."""
    groups = list(sets)
    if len(sets) > 1:
        whole = together(sets)
        groups.append(whole.labelled)
        sides = set.intersection(*(set(found[s.name]) for s in sets))
        found[TOGETHER] = {side: _merged(whole, [(s.name, found[s.name][side]) for s in sets]) for side in sides}
    by_name = {labelled.name: labelled for labelled in groups}
    return groups, {
        name: {
            side: OrderedDict((m, _Measured(r, n, match(by_name[name], r))) for m, (r, n) in models.items())
            for side, models in sides.items()
            if models
        }
        for name, sides in found.items()
    }


def _merged(whole: "Together", parts: list[tuple[str, dict]]) -> dict:
    """model -> (results, nats) on all sets, of models that have results on each. parts: (set, models) of one side."""
    merged = OrderedDict()
    for model in parts[0][1]:
        own = [(name, *models[model]) for name, models in parts if model in models]
        if len(own) == len(parts):
            known = all(nats is not None for _, _, nats in own)
            nats = whole.nats({name: rows for name, _, rows in own}) if known else None
            merged[model] = (whole.results({name: results for name, results, _ in own}), nats)
    return merged


def _side(labelled: "LabelledSet", models: dict, baseline: str, resamples: int) -> dict[str, Any]:
    tables: dict[str, Any] = {
        "metrics": OrderedDict((name, metrics(m.matching)) for name, m in models.items()),
        "joints": OrderedDict((n, joint_table(labelled, m.results, m.matching)) for n, m in models.items()),
    }
    if baseline in models and len(models) > 1:
        matchings = {name: m.matching for name, m in models.items()}
        tables["differences"] = compare(matchings, baseline, resamples=resamples, areas=tuple(COCO_AREAS))
    nats = {name: m.nats for name, m in models.items() if m.nats is not None}
    if nats:
        ids = next(iter(models.values())).matching.image_ids
        base = baseline if baseline in nats else next(iter(nats))
        tables["nats"] = compare_nats(nats, base, ids, resamples=resamples)
    return tables


# -------------------------------------------------------------------- Markdown


def format_report(report: dict) -> str:
    """What :func:`make_report` gives, as Markdown."""
    parts = []
    for name, count in report["sets"].items():
        parts.append(f"## {name}: {count['images']} images, {count['people']} people")
        sides = report["metrics"].get(name, {})
        if not sides:
            parts.append("No model has results at one side on every set.")
            continue
        parts.append(_figures_table(sides))
        parts.append("COCO labels no joints of people below 32 x 32 px. Classes: root of the labelled area.")
        if name in report["differences"]:
            title = f"Difference from {report['baseline']}, 95 % of {report['resamples']} resamples of the images:"
            parts += [title, _differences_table(report["differences"][name], report["baseline"])]
        if name in report["nats"]:
            parts.append("Nats a joint (pixels), people matched at a box IoU of 0.5; difference over those both found:")
            parts.append(_nats_table(report["nats"][name]))
        parts += _joint_tables(report["joints"][name])
    return "\n\n".join(parts) + "\n"


def _figures_table(sides: dict) -> str:
    names = next(iter(next(iter(sides.values())).values()))
    order = [*_MAIN, *(n for n in names if n not in _MAIN)]
    found = [(side, model, own) for side, models in sides.items() for model, own in models.items()]
    return table(("side", "model", *order), [(s, m, *(shown(own[n]) for n in order)) for s, m, own in found])


def _differences_table(sides: dict, baseline: str) -> str:
    rows = []
    for side, models in sides.items():
        for model, own in models.items():
            if model != baseline:
                rows.append((side, model, *(with_interval(own[n]) for n in _COMPARED), shown(100 * own["AP"]["above"])))
    return table(("side", "model", *_COMPARED, "AP ahead in % of resamples"), rows)


def _nats_table(sides: dict) -> str:
    rows = [
        (side, model, shown(own["value"], 3), own["joints"], with_interval(own, 3), own["both"])
        for side, models in sides.items()
        for model, own in models.items()
    ]
    return table(("side", "model", "nats", "joints", "difference", "joints of both"), rows)


def _joint_tables(sides: dict) -> list[str]:
    """One table for each side: joints in rows, models in columns."""
    parts = []
    for side, models in sides.items():
        head, names = ["joint", "labelled"], list(next(iter(models.values())))
        for model in models:
            head += [f"{model}: reached %", "median error %", "OKS"]
        rows = []
        for joint in names:
            line = [joint, next(iter(models.values()))[joint]["labelled"]]
            for own in models.values():
                line += [shown(own[joint][key]) for key in ("reached", "median_relative", "oks")]
            rows.append(line)
        parts.append(
            f"Joints at {side}: share of all labelled ones that are reached (OKS of the joint at least 0.5); of people "
            "matched at an OKS of 0.5, the median error in % of the root of the area and the mean OKS:"
        )
        parts.append(table(head, rows))
    return parts


def table(head: list[str] | tuple, rows: list) -> str:
    """A Markdown table of texts and whole numbers."""
    return tabulate(rows, head, tablefmt="github", disable_numparse=True)


def shown(value: float, digits: int = 1) -> str:
    """A metric as text; "-" where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def with_interval(line: dict, digits: int = 1) -> str:
    """A difference and its interval as text."""
    low, high = line["difference_interval"]
    if math.isnan(line["difference"]) or math.isnan(low) or low == high == 0:  # nothing, or the baseline itself
        return "-"
    return f"{line['difference']:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"
