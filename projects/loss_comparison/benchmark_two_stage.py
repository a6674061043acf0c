#!/usr/bin/env python3
r"""Measure the one-stage model beside a two-stage one: FLOPs, memory and time with 1, 5 and 20 people in the image.

python projects/loss_comparison/benchmark_two_stage.py
python projects/loss_comparison/benchmark_two_stage.py --one-stage C1 --two-stage C2 \
    --weights W1 W2 --people 1 5 20 --output costs.json

Time does not depend on the weights, so that random ones do.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from loss_comparison.cost import format_costs, measure, write_costs

from rle_onestage.errors import ConfigError, exits_with_sentence
from rle_onestage.utils.arguments import positive_int

CONFIGS = Path(__file__).resolve().parent / "configs"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one-stage", default=str(CONFIGS / "synthetic.yaml"), metavar="FILE")
    two_stage = str(CONFIGS / "keypoint_rcnn_synthetic.yaml")
    parser.add_argument("--two-stage", default=two_stage, metavar="FILE")
    parser.add_argument("--weights", nargs=2, default=("", ""), metavar="FILE", help="of each; default: random")
    parser.add_argument("--size", type=positive_int, default=192, metavar="PX", help="side of the image")
    parser.add_argument("--people", nargs="+", type=positive_int, default=[1, 5, 20], metavar="N")
    parser.add_argument("--threads", nargs="+", type=positive_int, default=[1, 2], metavar="N")
    parser.add_argument("--rounds", type=positive_int, default=30, metavar="N")
    parser.add_argument("--output", metavar="FILE.json")
    return parser.parse_args(arguments)


@exits_with_sentence
def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    if min(args.size, args.rounds, *args.people, *args.threads) < 1:
        raise ConfigError("--size, --people, --threads and --rounds must be at least 1")
    report = measure(
        args.one_stage,
        args.two_stage,
        size=args.size,
        people=args.people,
        threads=args.threads,
        rounds=args.rounds,
        one_options=["MODEL.WEIGHTS", args.weights[0]],
        two_options=["MODEL.WEIGHTS", args.weights[1]],
    )
    print(format_costs(report))
    if args.output:
        write_costs(report, args.output)


if __name__ == "__main__":
    main()
