#!/usr/bin/env python3
"""Draw the images that an evaluated model did worst on: predictions beside labels, on one page.

python tools/worst_images.py --config-file output/run/config.yaml --output worst.jpg
python tools/worst_images.py --config-file C --results results.json --order file --number 30 --output page.jpg
"""

import argparse
import os

from detectron2.utils.logger import setup_logger

from rle_onestage.engine.setup import load_config
from rle_onestage.errors import ConfigError, exits_with_sentence
from rle_onestage.evaluation import RESULTS_FILE
from rle_onestage.visualization.report import ORDERS, page_of_results


def parse(arguments):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="FILE")
    parser.add_argument("--results", metavar="FILE", help=f"default: OUTPUT_DIR/inference/{RESULTS_FILE}")
    parser.add_argument("--dataset", metavar="NAME", help="default: the first of DATASETS.TEST")
    parser.add_argument("--order", choices=ORDERS, default="worst")
    parser.add_argument("--number", type=int, default=12, metavar="N")
    parser.add_argument("--columns", type=int, default=2, metavar="N")
    parser.add_argument("--confidence-threshold", type=float, default=0.1, metavar="S")
    parser.add_argument("--output", required=True, metavar="FILE")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE")
    return parser.parse_args(arguments)


@exits_with_sentence
def main(arguments=None):
    """Do what the command line says."""
    args = parse(arguments)
    setup_logger(name="rle_onestage", abbrev_name="rle")
    cfg = load_config(args.config_file, args.opts)
    if not (args.dataset or cfg.DATASETS.TEST):
        raise ConfigError("DATASETS.TEST is empty; name the data set with --dataset")
    shown = page_of_results(
        cfg,
        args.dataset or cfg.DATASETS.TEST[0],
        args.results or os.path.join(cfg.OUTPUT_DIR, "inference", RESULTS_FILE),
        args.output,
        count=args.number,
        order=args.order,
        columns=args.columns,
        threshold=args.confidence_threshold,
    )
    for score in shown:
        print(f"{100 * score.oks:6.1f}  {score.people} labelled  {score.file_name}")


if __name__ == "__main__":
    main()
