"""The report of a comparison over seeds: its command line, its sets, its differences as a table, and its files."""

import argparse
import math
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from detectron2.config import CfgNode

from ..errors import ConfigError
from ..utils.arguments import positive_int
from ..utils.output_files import write_text
from ..utils.tables import table_text
from .results import write_json


class Run(Protocol):
    """A finished training."""

    def config(self) -> CfgNode:
        """Of its evaluation."""


AnyRun = TypeVar("AnyRun", bound=Run)


def report_parser(text: str | None, sets: Sequence[str]) -> argparse.ArgumentParser:
    """The flags of a report on trainings that lie in one folder a set.

    Args:
        text: what the report has, with an example of its use.
        sets: names of the folders.

    Returns:
        A parser of ``--runs``, ``--output``, ``--sets`` and ``--resamples``.
    """
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", required=True, metavar="DIR", help="of train.sh")
    parser.add_argument("--output", required=True, metavar="DIR")
    parser.add_argument("--sets", nargs="+", default=list(sets), choices=sets, metavar="NAME")
    parser.add_argument("--resamples", type=positive_int, default=500, metavar="N", help="of the images")
    return parser


def compare_sets(
    args: argparse.Namespace,
    find_runs: Callable[[str], Sequence[AnyRun]],
    compare: Callable[[str, Sequence[AnyRun], str], dict[str, Any]],
    *,
    started_by: str,
) -> "OrderedDict[str, dict[str, Any]]":
    """The comparison of the finished runs on every test set of their configs.

    Args:
        args: of :func:`report_parser`.
        find_runs: the finished runs of a folder.
        compare: of the name of the folder, its runs, and one of their test sets.
        started_by: the script that trains them.

    Returns:
        Test set -> what ``compare`` gives.

    Raises:
        ConfigError: no run is finished.
    """
    report: OrderedDict[str, dict[str, Any]] = OrderedDict()
    for name in args.sets:
        runs = find_runs(os.path.join(args.runs, name))
        for dataset in runs[0].config().DATASETS.TEST if runs else ():
            report[dataset] = compare(name, runs, dataset)
    if not report:
        raise ConfigError(f"--runs {args.runs} has no finished run; start {started_by}")
    return report


def write_report(report: Mapping[str, Any], text: str, folder: str) -> None:
    """Write ``report.json`` and ``report.md``, and print the page.

    Args:
        report: see :func:`compare_sets`.
        text: the same as Markdown.
        folder: is made.

    Raises:
        MediaError, ConfigError: they cannot be written.
    """
    write_json(report, os.path.join(folder, "report.json"))
    write_text(os.path.join(folder, "report.md"), text)
    print(text)


def format_differences(
    found: Mapping[str, Any], baseline: str, names: Mapping[str, str], digits: Callable[[str], int]
) -> list[str]:
    """How models differ from the baseline, as paragraphs of Markdown; none where nothing is compared.

    Args:
        found: dict of ``rows``: model -> dict of ``images`` and ``over_seeds``: metric -> dict of ``difference`` and
            ``interval``; ``first_seed``, whose images were drawn; and ``resamples`` of them.
        baseline: name of the model that the others are compared with.
        names: metric -> what the table calls it.
        digits: of a metric, behind the point.
    """
    rows = found["rows"]
    if not any(row.get("images") or row.get("over_seeds") for row in rows.values()):
        return []
    about = (
        f"Differences from `{baseline}`: of seed {found['first_seed']} with 95 % of the paired bootstrap over images "
        f"({found['resamples']} resamples), then of the mean over seeds with 95 % by Student's t."
    )
    return [about, table_text(list(_difference_rows(rows, names, digits)), ["", "", "over images", "over seeds"])]


def _difference_rows(
    rows: Mapping[str, Any], names: Mapping[str, str], digits: Callable[[str], int]
) -> Iterable[list[str]]:
    for model, row in rows.items():
        for key, name in names.items():
            images, seeds = row.get("images", {}).get(key), row.get("over_seeds", {}).get(key)
            if images or seeds:
                yield [f"`{model}`", name, *(_with_interval(one, digits(key)) for one in (images, seeds))]


def _with_interval(found: Mapping[str, Any] | None, digits: int) -> str:
    if not found or not math.isfinite(found["difference"]):
        return "-"
    low, high = found["interval"]
    return f"{found['difference']:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"
