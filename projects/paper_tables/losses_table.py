#!/usr/bin/env python3
"""The tables of the losses under given boxes, from what train.sh has trained so far: report.md and report.json.

python projects/paper_tables/losses_table.py --runs output/paper_tables --output output/paper_tables/report
"""

import argparse
import os
from collections import OrderedDict

from detectron2.utils.logger import setup_logger
from paper_tables.comparison import compare_set
from paper_tables.tables import format_report
from paper_tables.trained import find_runs

from rle_onestage.errors import ConfigError, exits_with_sentence
from rle_onestage.evaluation import write_json
from rle_onestage.utils.arguments import positive_int
from rle_onestage.utils.safe_files import write_text
from rle_onestage.video.io import make_folder

SETS = ("lspet", "people", "synthetic")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", required=True, metavar="DIR", help="of train.sh")
    parser.add_argument("--output", required=True, metavar="DIR")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS, metavar="NAME")
    parser.add_argument("--resamples", type=positive_int, default=500, metavar="N", help="of the images")
    return parser.parse_args(arguments)


@exits_with_sentence
def main(arguments: list[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    setup_logger(name="rle_onestage", abbrev_name="rle")
    report: OrderedDict[str, dict] = OrderedDict()
    for name in args.sets:
        runs = find_runs(os.path.join(args.runs, name))
        for dataset in runs[0].config().DATASETS.TEST if runs else ():
            report[dataset] = compare_set(runs, dataset, resamples=args.resamples)
    if not report:
        raise ConfigError(f"--runs {args.runs} has no finished run; start projects/paper_tables/train.sh")
    make_folder(args.output)
    text = format_report(report)
    write_text(os.path.join(args.output, "report.md"), text)
    write_json(report, os.path.join(args.output, "report.json"))
    print(text)


if __name__ == "__main__":
    main()
