#!/usr/bin/env python3
"""Metrics of several models on several labelled sets, side by side, from files of COCO results.

python projects/people/report.py --set coco_val A.json --set micro B.json --output out/report --baseline movenet \\
    --results ours 640 coco_val R1.json --results ours 640 micro R2.json \\
    --results movenet 640 coco_val R3.json --results movenet 640 micro R4.json

Writes report.md and report.json: COCO's metrics by side and size of people, for each set and for all as one, errors of
joints, and the paired bootstrap over images of every difference from the baseline.
"""

import argparse
import os

from people_study.labels import add_set_flags, sets_from
from people_study.tables import Run, format_report, make_report

from rle_onestage.errors import ConfigError, exits_with_sentence
from rle_onestage.evaluation import write_json
from rle_onestage.utils.arguments import positive_int
from rle_onestage.utils.safe_files import write_text
from rle_onestage.video.io import make_folder


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_set_flags(parser)
    parser.add_argument("--results", nargs=4, action="append", required=True, metavar=("MODEL", "SIDE", "SET", "FILE"))
    parser.add_argument("--baseline", metavar="MODEL", help="default: the first")
    parser.add_argument("--resamples", type=positive_int, default=1000, metavar="N", help="of the images")
    parser.add_argument("--output", required=True, metavar="FOLDER")
    return parser.parse_args(arguments)


def as_runs(given: list[list[str]]) -> list[Run]:
    """The files of results that the command line names.

    Raises:
        ConfigError: a side is no number.
    """
    for model, side, *_ in given:
        if not side.isdecimal():
            raise ConfigError(f"--results {model} has the side {side}; give the longer side in pixels, such as 640")
    return [Run(model, int(side), name, path) for model, side, name, path in given]


@exits_with_sentence
def main(arguments: list[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    sets = list(sets_from(args).values())
    report = make_report(sets, as_runs(args.results), baseline=args.baseline, resamples=args.resamples)
    text = format_report(report)
    make_folder(args.output)
    write_text(os.path.join(args.output, "report.md"), text)
    write_json(report, os.path.join(args.output, "report.json"))
    print(text)


if __name__ == "__main__":
    main()
