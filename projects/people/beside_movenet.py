#!/usr/bin/env python3
"""A model of ours beside MoveNet MultiPose: accuracy at the same sizes of the input, on the same images, and latency.

python projects/people/beside_movenet.py --config-file C --weights W --side 320 448 640 --output out/beside \\
    --set coco_val A.json DIR --set micro B.json DIR --image F.jpg --threads 2 \\
    --movenet-python ../movenet/bin/python --movenet-script movenet.py --movenet-models package/models

Runs both models (what is in the folder already is not run again), then writes report.md and report.json: see report.py,
and latency.py where an image is given.
"""

import argparse
import os
from typing import TYPE_CHECKING, Any

from latency import format_latency
from latency import measure as measure_latency
from people_study.labels import add_set_flags, sets_from
from people_study.latency import add_timing_flags
from people_study.runs import MoveNet, Ours, add_model_flags, add_movenet_flags
from people_study.tables import Run, format_report, make_report
from run_model import results_file, run

from rle_onestage.errors import DataError, exits_with_sentence
from rle_onestage.evaluation import write_json
from rle_onestage.utils.arguments import positive_int
from rle_onestage.utils.safe_files import write_text
from rle_onestage.video.io import make_folder

if TYPE_CHECKING:
    from people_study.labels import LabelledSet


OURS, PEER = "ours", "movenet"


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_flags(parser)
    parser.add_argument("--side", type=positive_int, nargs="+", default=[320, 448, 640], metavar="N")
    add_set_flags(parser)
    parser.add_argument("--resamples", type=positive_int, default=1000, metavar="N", help="of the images")
    parser.add_argument("--image", metavar="FILE", help="to time both on; without it only accuracy is measured")
    add_timing_flags(parser)
    parser.add_argument("--output", required=True, metavar="FOLDER")
    add_movenet_flags(parser, required=True)
    return parser.parse_args(arguments)


def run_peer(peer: "MoveNet", sides: list[int], sets: "list[LabelledSet]", folder: str) -> None:
    """Write what is missing of MoveNet's results."""
    for side in sides:
        for labelled in sets:
            path = results_file(folder, PEER, labelled.name, side)
            if not os.path.exists(path):
                peer.write(labelled.truth.source, labelled.image_folder, side, path)
                print(path)


def time_both(args: argparse.Namespace, peer: "MoveNet") -> dict[int, dict[str, Any]]:
    """See :func:`latency.measure`."""
    options = {"weights": args.weights, "options": args.opts, "threads": args.threads}
    models = {side: Ours(args.config_file, side, **options) for side in args.side}
    try:
        return measure_latency(models.get, peer, args.image, args.side, rounds=args.rounds, calls=args.calls)
    finally:
        peer.close()


@exits_with_sentence
def main(arguments: list[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    sets = list(sets_from(args).values())
    bare = next((s for s in sets if s.folder is None), None)
    if bare is not None:
        raise DataError(f"set {bare.name} has no image folder; name it with --set")
    peer = MoveNet(args.movenet_python, args.movenet_script, args.movenet_models, threads=args.threads)
    make_folder(args.output)
    run(args.config_file, args.weights, OURS, args.side, sets, args.output, options=args.opts, threads=args.threads)
    run_peer(peer, args.side, sets, args.output)
    runs = [
        Run(model, side, s.name, results_file(args.output, model, s.name, side))
        for s in sets for side in args.side for model in (OURS, PEER)
    ]  # fmt: skip
    report = make_report(sets, runs, baseline=PEER, resamples=args.resamples)
    text = format_report(report)
    if args.image:
        report["latency"] = {"threads": args.threads, "sides": time_both(args, peer)}
        text += f"\n## Latency\n\n{format_latency(report['latency']['sides'], args.threads)}"
    write_json(report, os.path.join(args.output, "report.json"))
    write_text(os.path.join(args.output, "report.md"), text)
    print(text)


if __name__ == "__main__":
    main()
