#!/usr/bin/env python3
"""Milliseconds from an image to people, of our files beside those that Ultralytics exports of YOLO-pose.

python projects/export_benchmark/beside_peers.py --ours people people.onnx --peer yolo11n yolo11n-pose.onnx

Each runs in a process of its own. They take turns, round after round, on one image. A peer is an ONNX file, or a
folder of OpenVINO; its image is resized and padded by OpenCV, and its people are suppressed by OpenCV where the file
does not do it. Only ratios within one run mean anything. Nothing else may run beside it.
"""

import argparse
import functools
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import cv2
import numpy as np
from export_benchmark.peers import Peer
from export_benchmark.turns import Make, measure
from tabulate import tabulate

from rle_onestage.errors import ConfigError, exits_with_sentence
from rle_onestage.evaluation import write_json
from rle_onestage.export import load, read_images
from rle_onestage.utils.arguments import positive_int


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag, what in (("--ours", "of rle-onestage export"), ("--peer", "of Ultralytics")):
        parser.add_argument(
            flag, nargs=2, action="append", default=[], metavar=("NAME", "FILE"), help=f"a file {what}; again for each"
        )
    parser.add_argument("--image", default="", metavar="FILE", help="(default: one of the package)")
    parser.add_argument("--side", type=positive_int, default=640, metavar="PIXELS", help="of the square cut from it")
    parser.add_argument("--threads", type=positive_int, default=2, metavar="N")
    parser.add_argument("--rounds", type=positive_int, default=5, metavar="N", help="of which the median is shown")
    parser.add_argument("--calls", type=positive_int, default=5, metavar="N", help="of each file in a round")
    parser.add_argument("--output", metavar="FILE.json")
    return parser.parse_args(arguments)


def square(image: np.ndarray, side: int) -> np.ndarray:
    """The middle of an image (H, W, 3) as a square of ``side`` pixels."""
    least = min(image.shape[:2])
    top, left = ((length - least) // 2 for length in image.shape[:2])
    return cv2.resize(np.ascontiguousarray(image[top : top + least, left : left + least]), (side, side))


def ours(file: str, threads: int, image: np.ndarray) -> Callable[[], Any]:
    """What runs a file of ours on an image; OpenCV resizes it for a static file of another size."""
    cv2.setNumThreads(threads)
    exported = load(file, threads=threads)
    size = exported.metadata["size"]
    height, width = size["canvas"] if size.get("static") else image.shape[:2]

    def find() -> Any:
        if image.shape[:2] == (height, width):
            return exported.run(image)
        return exported.run(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))

    return find


def peer(file: str, threads: int, image: np.ndarray) -> Callable[[], Any]:
    """What runs a file of the peers on an image."""
    cv2.setNumThreads(threads)
    return functools.partial(Peer(file, threads), image)


def table(took: dict[str, list[float]], peers: Sequence[str]) -> str:
    """Markdown: median, spread and ratio to the fastest peer.

    Args:
        took: name -> milliseconds of each round.
        peers: names among them.
    """
    fastest = min((median(took[name]) for name in peers), default=None)
    rows = [
        (
            name, f"{median(times):.1f}", f"{min(times):.1f} to {max(times):.1f}",
            "" if fastest is None else f"{median(times) / fastest:.2f}",
        )
        for name, times in took.items()
    ]  # fmt: skip
    return tabulate(rows, ("file", "ms", "rounds", "to the fastest peer"), tablefmt="github", disable_numparse=True)


@exits_with_sentence
def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    args = parse(arguments)
    names = [name for name, _ in (*args.ours, *args.peer)]
    if not names or len(set(names)) < len(names):
        raise ConfigError("give files with --ours or --peer, each under a name of its own")
    image = square(read_images([args.image] if args.image else [])[0], args.side)
    makes: dict[str, Make] = {}
    for make, files in ((ours, args.ours), (peer, args.peer)):
        makes |= {name: functools.partial(make, file, args.threads, image) for name, file in files}
    took = measure(makes, args.rounds, args.calls)
    print(table(took, [name for name, _ in args.peer]))
    if args.output:
        write_json({"threads": args.threads, "side": args.side, "milliseconds": took}, args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
