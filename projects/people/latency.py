#!/usr/bin/env python3
"""Latency of a model of ours beside MoveNet MultiPose, in turn on the same image, on the CPU.

python projects/people/latency.py --config-file C --weights W --image F.jpg --threads 2 --output out/latency \\
    --movenet-python ../movenet/bin/python --movenet-script movenet.py --movenet-models package/models

From the decoded image to people, resizing included: ours as the predictor runs it (float32, batch norms fused), MoveNet
by TensorFlow. Leave the machine alone meanwhile. Writes latency.md and latency.json.
"""

import argparse
import os
from collections.abc import Callable
from typing import Any

from people_study.latency import add_timing_flags, in_turn, ratios
from people_study.runs import MoveNet, Ours, add_model_flags, add_movenet_flags
from people_study.tables import table

from rle_onestage.errors import exits_with_sentence
from rle_onestage.evaluation import write_json
from rle_onestage.utils.arguments import positive_int
from rle_onestage.utils.safe_files import write_text
from rle_onestage.video.io import make_folder


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_flags(parser)
    parser.add_argument("--image", required=True, metavar="FILE")
    parser.add_argument("--side", type=positive_int, nargs="+", default=[320, 448, 640], metavar="N")
    add_timing_flags(parser)
    parser.add_argument("--output", required=True, metavar="FOLDER")
    add_movenet_flags(parser, required=True)
    return parser.parse_args(arguments)


def measure(
    ours: Callable, peer: "MoveNet", image: str, sides: list[int], *, rounds: int, calls: int
) -> dict[int, dict[str, Any]]:
    """Both at each side.

    Args:
        ours: side -> model with ``ask(image)``.
        peer: with ``ask(image, side)``.
        image: path.
        sides: pixels.
        rounds: see :func:`~people_study.latency.in_turn`.
        calls: see :func:`~people_study.latency.in_turn`.

    Returns:
        dict side -> dict of ``ours``, ``movenet`` and ``ratio`` (ours to MoveNet's).
    """
    report = {}
    for side in sides:
        asked = {"ours": lambda side=side: ours(side).ask(image), "movenet": lambda side=side: peer.ask(image, side)}
        measured = in_turn(asked, rounds=rounds, calls=calls)
        report[side] = {**measured, "ratio": ratios(measured, "movenet")["ours"]}
    return report


def format_latency(report: dict[int, dict[str, Any]], threads: int) -> str:
    """Markdown."""
    rows = [
        (side, f"{own['ours']['ms']:.1f}", f"{own['movenet']['ms']:.1f}", f"{own['ratio']:.2f}")
        for side, own in report.items()
    ]
    head = ("side", "ours, ms", "MoveNet, ms", "ours / MoveNet")
    return f"Milliseconds from the decoded image to people, {threads} thread(s):\n\n{table(head, rows)}\n"


@exits_with_sentence
def main(arguments: list[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    make_folder(args.output)
    options = {"weights": args.weights, "options": args.opts, "threads": args.threads}
    models = {side: Ours(args.config_file, side, **options) for side in args.side}
    peer = MoveNet(args.movenet_python, args.movenet_script, args.movenet_models, threads=args.threads)
    try:
        report = measure(models.get, peer, args.image, args.side, rounds=args.rounds, calls=args.calls)
    finally:
        peer.close()
    text = format_latency(report, args.threads)
    write_json({"threads": args.threads, "image": os.path.basename(args.image), "sides": report},
               os.path.join(args.output, "latency.json"))  # fmt: skip
    write_text(os.path.join(args.output, "latency.md"), text)
    print(text)


if __name__ == "__main__":
    main()
