#!/usr/bin/env python3
"""The tables of the losses under given boxes, from what train.sh has trained so far: report.md and report.json.

python projects/paper_tables/losses_table.py --runs output/paper_tables --output output/paper_tables/report
"""

from collections.abc import Sequence
from typing import Any

from detectron2.utils.logger import setup_logger
from paper_tables.comparison import compare_set
from paper_tables.tables import format_report
from paper_tables.trained import LOSSES, SENSITIVITY, Trained, find_runs

from rle_onestage.errors import exits_with_sentence
from rle_onestage.evaluation.seed_report import compare_sets, report_parser, write_report

SETS = ("lspet", "people", "synthetic")


@exits_with_sentence
def main(arguments: list[str] | None = None) -> None:
    """Do what the command line says."""
    parser = report_parser(__doc__, SETS)
    parser.add_argument(
        "--baseline", default="rle", choices=(*LOSSES, *SENSITIVITY), metavar="NAME",
        help="the loss from which the others differ (default: rle)",
    )  # fmt: skip
    args = parser.parse_args(arguments)
    setup_logger(name="rle_onestage", abbrev_name="rle")

    def compare(name: str, runs: Sequence[Trained], dataset: str) -> dict[str, Any]:
        return compare_set(runs, dataset, baseline=args.baseline, resamples=args.resamples)

    report = compare_sets(args, find_runs, compare, started_by="projects/paper_tables/train.sh")
    write_report(report, format_report(report), args.output)


if __name__ == "__main__":
    main()
