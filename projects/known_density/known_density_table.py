#!/usr/bin/env python3
r"""Train each loss on labels whose true density is known and compare what it reports with what is true.

python projects/known_density/known_density_table.py --output output/known_truth
python projects/known_density/known_density_table.py --output output/known_truth \
    --laws laplace two_peaked --losses rle laplace

About 20 minutes of one core; cases that are done already are not done again.
"""

import argparse
import os
import sys
from pathlib import Path

# The generator of synthetic people has the noise models.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "datasets"))

import torch
from known_density.experiment import LAWS, LOSSES, Settings, bars, format_table, run_all
from known_density.plots import draw_page

from rle_onestage.errors import exits_with_sentence
from rle_onestage.evaluation import write_json


def parse(arguments):
    """Read the command line."""
    defaults = Settings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True, metavar="FOLDER")
    parser.add_argument("--laws", nargs="+", default=list(LAWS), metavar="LAW", help=", ".join(LAWS))
    parser.add_argument("--losses", nargs="+", default=list(LOSSES), metavar="LOSS", help=", ".join(LOSSES))
    parser.add_argument("--steps", type=int, default=defaults.steps, metavar="N")
    parser.add_argument("--seed", type=int, default=defaults.seed, metavar="N")
    return parser.parse_args(arguments)


@exits_with_sentence
def main(arguments=None):
    """Do what the command line says."""
    args = parse(arguments)
    torch.set_num_threads(1)  # the networks are so small that further threads only get in the way
    cases = run_all(args.output, args.laws, args.losses, Settings(steps=args.steps, seed=args.seed))
    table = format_table(cases)
    print(table)
    held = [{"bar": text, "holds": bool(holds)} for text, holds in bars(cases)]
    write_json({"cases": cases, "bars": held}, os.path.join(args.output, "known_truth.json"))
    draw_page(os.path.join(args.output, "known_truth.png"), cases)


if __name__ == "__main__":
    main()
