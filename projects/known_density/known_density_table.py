#!/usr/bin/env python3
r"""Train each loss on labels whose true density is known and compare what it reports with what is true.

python projects/known_density/known_density_table.py --output output/known_truth
python projects/known_density/known_density_table.py --output output/known_truth \
    --noise laplace two_peaked --losses rle laplace

About 20 minutes of one core; cases that are done already are not done again.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# The generator of synthetic people has the noise models.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "datasets"))

import torch
from known_density.experiment import LOSSES, Settings, bars, format_table, run_all
from known_density.plots import draw_page
from synthetic_people.noise import NOISE_MODELS

from rle_onestage.errors import exits_with_sentence
from rle_onestage.evaluation import write_json
from rle_onestage.utils.arguments import natural_int, positive_int


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    defaults = Settings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True, metavar="FOLDER")
    # --laws is what it was called.
    parser.add_argument(
        "--noise", "--laws", nargs="+", default=list(NOISE_MODELS), metavar="MODEL", help=", ".join(NOISE_MODELS)
    )
    parser.add_argument("--losses", nargs="+", default=list(LOSSES), metavar="LOSS", help=", ".join(LOSSES))
    parser.add_argument("--steps", type=positive_int, default=defaults.steps, metavar="N")
    parser.add_argument("--seed", type=natural_int, default=defaults.seed, metavar="N")
    return parser.parse_args(arguments)


@exits_with_sentence
def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    torch.set_num_threads(1)  # the networks are so small that further threads only get in the way
    cases = run_all(args.output, args.noise, args.losses, Settings(steps=args.steps, seed=args.seed))
    table = format_table(cases)
    print(table)
    held = [{"bar": text, "holds": bool(holds)} for text, holds in bars(cases)]
    write_json({"cases": cases, "bars": held}, os.path.join(args.output, "known_truth.json"))
    draw_page(os.path.join(args.output, "known_truth.png"), cases)


if __name__ == "__main__":
    main()
