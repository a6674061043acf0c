#!/usr/bin/env python3
"""Parameters, FLOPs, time and memory of several configs in one table.

python projects/speed/benchmark_family.py --config-files configs/coco/rle_onestage_[pnsml]_640.yaml --training-images 16

Time is from a decoded image to people, batch 1, the models in turn; FLOPs are 2 for a multiply-add; memory is the
most that activations take at a time (in a training step with gradients and the optimizer's state), without the weights.
"""

import argparse
from collections.abc import Sequence

import cv2
import torch
from speed.family import format_family, measure

from rle_onestage.errors import ConfigError, exits_with_sentence
from rle_onestage.evaluation import write_json
from rle_onestage.utils.arguments import natural_int, positive_int


@exits_with_sentence
def main(arguments: Sequence[str] | None = None) -> None:
    """Parse and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-files", nargs="+", required=True, metavar="FILE")
    parser.add_argument("--size", type=positive_int, default=640, metavar="PX")
    parser.add_argument("--threads", type=positive_int, default=2, metavar="N")
    parser.add_argument("--rounds", type=positive_int, default=20, metavar="N")
    parser.add_argument("--training-images", type=natural_int, default=0, metavar="N", help="0: no memory of training")
    parser.add_argument("--output", metavar="FILE.json")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="for all configs")
    args = parser.parse_args(arguments)
    if min(args.size, args.threads, args.rounds) < 1 or args.training_images < 0:
        raise ConfigError("--size, --threads and --rounds must be at least 1, and --training-images not negative")
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    report = measure(args.config_files, size=args.size, rounds=args.rounds, training_images=args.training_images,
                     options=args.opts)  # fmt: skip
    print(format_family(report))
    if args.output:
        write_json(report, args.output)


if __name__ == "__main__":
    main()
