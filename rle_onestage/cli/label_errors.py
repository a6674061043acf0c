#!/usr/bin/env python3
"""List and draw the labels of a data set that a trained model finds least likely, with what would explain them.

python tools/suspect_labels.py --config-file C --dataset D MODEL.WEIGHTS W
python tools/suspect_labels.py --config-file C --dataset D --number 100 --output DIR --opts MODEL.WEIGHTS W
"""

import argparse
import os

from detectron2.utils.logger import setup_logger

from rle_onestage.engine.setup import load_config
from rle_onestage.errors import ConfigError, exits_with_sentence
from rle_onestage.label_errors import find_suspects


def parse(arguments):
    """Read the command line; options of the config may stand anywhere, with ``--opts`` or without."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="FILE")
    parser.add_argument("--dataset", metavar="NAME", help="default: the first of DATASETS.TEST")
    parser.add_argument("--number", type=int, default=50, metavar="N", help="how many people are listed (50)")
    parser.add_argument("--output", metavar="DIR", help="default: OUTPUT_DIR/suspects")
    parser.add_argument(
        "--confidence-threshold", type=float, default=0.1, metavar="S", help="lowest score of a prediction (0.1)"
    )
    parser.add_argument("--opts", nargs="*", default=[], metavar="KEY VALUE")
    parser.add_argument("options", nargs="*", metavar="KEY VALUE")
    return parser.parse_intermixed_args(arguments)


@exits_with_sentence
def main(arguments=None):
    """Do what the command line says."""
    args = parse(arguments)
    setup_logger(name="rle_onestage", abbrev_name="rle")
    cfg = load_config(args.config_file, [*args.opts, *args.options])
    if not (args.dataset or cfg.DATASETS.TEST):
        raise ConfigError("DATASETS.TEST is empty; name the data set with --dataset")
    name = args.dataset or cfg.DATASETS.TEST[0]
    output = args.output or os.path.join(cfg.OUTPUT_DIR, "suspects")
    found = find_suspects(cfg, name, output, number=args.number, min_score=args.confidence_threshold)
    print(f"{len(found.suspects)} suspects of {found.people} labelled people are in {output}")


if __name__ == "__main__":
    main()
