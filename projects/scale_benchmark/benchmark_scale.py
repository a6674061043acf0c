#!/usr/bin/env python3
r"""One process beside two Ray actors on tar shards: images/s in turn, memory over time, and a driver that is killed.

python projects/scale_benchmark/benchmark_scale.py --output output/scale
python projects/scale_benchmark/benchmark_scale.py --number 600 --rounds 1 --output output/scale_small

Photographs are packed over and over into shards. Then:

rounds   one process and the actors, with the same threads each, predict the same shards in turn
whole    the actors predict all shards; memory and processor time of every process are noted each second
killed   the same once more, but the driver is killed by signal 9 when half of the files are written, and started
         again; all rows are compared with those of "whole"

What was measured is written to scale.json of --output after each step, and printed as tables.
"""

import argparse
import glob
import os
from collections.abc import Sequence
from pathlib import Path

from scale_benchmark.commands import STEPS, run

from rle_onestage.errors import ConfigError, exits_with_sentence
from rle_onestage.utils.arguments import positive_int

EXAMPLES = str(Path(__file__).resolve().parents[2] / "datasets" / "examples" / "*.jpg")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", nargs="+", metavar="FILE", help="(default: those of datasets/examples)")
    parser.add_argument("--number", type=positive_int, default=20000, metavar="N", help="images (default: 20000)")
    parser.add_argument("--side", type=positive_int, default=256, metavar="PX", help="longer one of an image")
    parser.add_argument("--shards", type=positive_int, default=20, metavar="N")
    parser.add_argument("--rounds", type=positive_int, default=5, metavar="N")
    parser.add_argument("--round-shards", type=positive_int, default=4, metavar="N", help="shards of a round")
    parser.add_argument("--actors", type=positive_int, default=2, metavar="N")
    parser.add_argument("--threads", type=positive_int, default=1, metavar="N", help="of the process, and of an actor")
    parser.add_argument("--model", default="people_synthetic", metavar="NAME", help="as rle-onestage predict takes it")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS), help="(default: all)")
    parser.add_argument("--output", required=True, metavar="DIR")
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="of the model's config, behind --")
    args = parser.parse_args(arguments)
    args.photographs = args.photographs or sorted(glob.glob(EXAMPLES))
    if args.number < args.shards:
        raise ConfigError(f"--number {args.number} is less than --shards {args.shards}; give each shard an image")
    if args.round_shards > args.shards or args.round_shards < args.actors:
        raise ConfigError(
            f"--round-shards is {args.round_shards}; give at most --shards ({args.shards}) and at least --actors "
            f"({args.actors}), as a shard is the smallest piece of work"
        )
    if missing := [name for name in args.photographs if not os.path.isfile(name)]:
        raise ConfigError(f"photograph {missing[0]} does not exist; check --photographs")
    return args


@exits_with_sentence
def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    run(parse(arguments))


if __name__ == "__main__":
    main()
