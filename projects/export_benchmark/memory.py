#!/usr/bin/env python3
"""Memory of the runtime of an exported file over many images, each of a size of its own.

python projects/export_benchmark/memory.py --file people.onnx --images photographs --count 3000 --output memory.json

Images are cut from photographs, as in parity.py. Prints the memory of the process after some of them.
"""

import argparse
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from export_benchmark.photographs import cut_to
from export_benchmark.processes import resident

from rle_onestage.errors import ConfigError, exits_with_sentence
from rle_onestage.evaluation import write_json
from rle_onestage.export import load, read_images
from rle_onestage.utils.arguments import natural_int, positive_int

_MARKS = (1, 10, 100, 250, 500, 1000, 1500, 2000, 2500)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", required=True, metavar="FILE", help="of rle-onestage export")
    parser.add_argument("--images", nargs="+", default=[], metavar="PATH", help="(default: two of the package)")
    parser.add_argument("--count", type=positive_int, default=3000, metavar="N")
    parser.add_argument(
        "--side", type=positive_int, nargs=2, default=[64, 1280], metavar="PX", help="smallest, largest"
    )
    parser.add_argument("--threads", type=positive_int, default=1, metavar="N")
    parser.add_argument("--seed", type=natural_int, default=0, metavar="N", help="of the sizes")
    parser.add_argument("--output", metavar="FILE.json")
    return parser.parse_args(arguments)


def measure(file: str, photographs: Sequence[np.ndarray], args: argparse.Namespace) -> dict[int, float]:
    """Memory in MB after some numbers of images; after none first."""
    run, generator = load(file, threads=args.threads).run, np.random.default_rng(args.seed)
    found = {0: resident()}
    for number in range(1, args.count + 1):
        size = generator.integers(args.side[0], args.side[1], 2, endpoint=True).tolist()
        run(cut_to(photographs[number % len(photographs)], tuple(size), generator))
        if number in _MARKS or number == args.count:
            found[number] = resident()
            print(f"{number} images: {found[number]:.0f} MB", flush=True)
    return found


@exits_with_sentence
def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    if args.side[0] > args.side[1]:
        raise ConfigError("--side has the smallest side first; exchange both")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    found = measure(args.file, read_images(args.images), args)
    if args.output:
        write_json({"sides": args.side, "threads": args.threads, "megabytes": found}, args.output)


if __name__ == "__main__":
    main()
