#!/usr/bin/env python3
"""The tables of the peers' rules, from what train.sh has trained so far: report.md, report.json and report.png.

python projects/peers_likelihoods/peers_report.py --runs output/peers --output output/peers/report \\
    --clips $DETECTRON2_DATASETS/synthetic
"""

import os
from collections.abc import Sequence
from typing import Any

from detectron2.utils.logger import setup_logger
from peers_likelihoods.comparison import compare_set
from peers_likelihoods.plots import draw_report
from peers_likelihoods.tables import format_report
from peers_likelihoods.trained import Trained, find_runs

from rle_onestage.errors import exits_with_sentence
from rle_onestage.evaluation.seed_report import compare_sets, report_parser, write_report

SETS = ("lspet", "people", "synthetic")


@exits_with_sentence
def main(arguments: list[str] | None = None) -> None:
    """Do what the command line says."""
    parser = report_parser(__doc__, SETS)
    parser.add_argument("--clips", metavar="DIR", help="synthetic people with videos, for tracks")
    args = parser.parse_args(arguments)
    setup_logger(name="rle_onestage", abbrev_name="rle")

    def compare(name: str, runs: Sequence[Trained], dataset: str) -> dict[str, Any]:
        clips = args.clips if name == "synthetic" else None
        return compare_set(runs, dataset, args.output, clips=clips, resamples=args.resamples)

    report = compare_sets(args, find_runs, compare, started_by="projects/peers_likelihoods/train.sh")
    write_report(report, format_report(report), args.output)
    draw_report(report, os.path.join(args.output, "report.png"))


if __name__ == "__main__":
    main()
