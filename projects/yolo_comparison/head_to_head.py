#!/usr/bin/env python3
r"""Ours beside Ultralytics' pose models: the same images, labels, epochs and input size, scored by pycocotools.

python projects/yolo_comparison/head_to_head.py data --root output/h2h/data
python projects/yolo_comparison/head_to_head.py report --root output/h2h/data --output output/h2h/report --size 256 \\
    --ours n projects/yolo_comparison/configs/synthetic_n.yaml output/h2h/n/model_final.pth \\
    --peer-python PEER/bin/python --peers yolo26n output/h2h/yolo26n/weights/last.pt
python projects/yolo_comparison/head_to_head.py report --output output/h2h/speed --size 640 --image photo.jpg \\
    --ours n configs/coco/rle_onestage_n_640.yaml "" --peer-python PEER/bin/python --peers yolo26n yolo26n-pose.yaml
python projects/yolo_comparison/head_to_head.py training --root output/h2h/data --size 256 \\
    --ours n projects/yolo_comparison/configs/synthetic_n.yaml \
    --peer-python PEER/bin/python --peers yolo26n yolo26n-pose.yaml

Between the first two, train both models: rle-onestage train, and ultralytics_peer.py in an environment of its own.
README.md has every command. Without --root nothing is scored; latency is of the complete way from a decoded image to
people, the models in turn; "" stands for random weights. "training" gives images per second, in turn too.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# The generator of synthetic people.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "datasets"))

from yolo_comparison import report as h2h
from yolo_comparison.sets import SPLITS, make_sets
from yolo_comparison.training import format_rates, rates

from rle_onestage.errors import ConfigError, exits_with_sentence
from rle_onestage.evaluation import write_json
from rle_onestage.utils.arguments import natural_float, natural_int, positive_float, positive_int
from rle_onestage.video.io import make_folder


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    data = commands.add_parser("data", help="make the synthetic data set")
    data.add_argument("--root", required=True, metavar="FOLDER")
    data.add_argument("--train", type=positive_int, default=1000, metavar="N")
    data.add_argument(
        "--val", type=positive_int, default=500, metavar="N", help="of the general and of the crowded split"
    )
    data.add_argument("--size", type=positive_int, default=256, metavar="PX", help="longest side")
    data.add_argument("--crowded-share", type=natural_float, default=0.3, metavar="S", help="of the training images")
    data.add_argument("--force", action="store_true", help="replace a set of other numbers")
    sub = commands.add_parser("report", help="score and time")
    sub.add_argument("--output", required=True, metavar="FOLDER")
    sub.add_argument("--root", metavar="FOLDER", help="of the data set")
    sub.add_argument("--splits", nargs="+", default=list(SPLITS), metavar="SPLIT")
    sub.add_argument(
        "--sigmas", nargs="+", type=positive_float, default=(), metavar="S", help="of OKS; default: by the names"
    )
    sub.add_argument(
        "--max-people", type=positive_int, default=20, metavar="N", help="results an image that count in AP (COCO: 20)"
    )
    sub.add_argument("--size", type=positive_int, default=256, metavar="PX", help="of the input")
    sub.add_argument("--threads", type=positive_int, default=2, metavar="N")
    sub.add_argument("--rounds", type=natural_int, default=5, metavar="N", help="of the latency; 0: not measured")
    sub.add_argument("--image", "--picture", metavar="FILE", help="to time on; default: noise")
    sub.add_argument("--ours", nargs=3, action="append", default=[], metavar=("NAME", "CONFIG", "WEIGHTS"))
    _name_peers(sub)
    sub.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="of our configs")
    sub = commands.add_parser("training", help="time the training")
    sub.add_argument("--root", required=True, metavar="FOLDER", help="of the data set")
    sub.add_argument("--size", type=positive_int, default=256, metavar="PX", help="of the input")
    sub.add_argument("--processes", type=positive_int, default=2, metavar="N", help="of ours; threads of the peer")
    sub.add_argument("--rounds", type=positive_int, default=3, metavar="N")
    sub.add_argument("--output", metavar="FILE.json")
    sub.add_argument("--ours", nargs=2, action="append", default=[], metavar=("NAME", "CONFIG"))
    _name_peers(sub)
    return parser.parse_args(arguments)


def _name_peers(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--peers", nargs=2, action="append", default=[], metavar=("NAME", "WEIGHTS"))
    sub.add_argument("--peer-python", default="python", metavar="FILE", help="interpreter of the peers' environment")


@exits_with_sentence
def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    if args.command == "data":
        make_sets(args.root, train=args.train, val=args.val, size=args.size, crowded_share=args.crowded_share,
                  force=args.force)  # fmt: skip
        return
    if not (args.ours or args.peers):
        raise ConfigError("nothing to compare; name models by --ours and --peers")
    if args.command == "training":
        _time_training(args)
    else:
        _report(args)


def _time_training(args: argparse.Namespace) -> None:
    if args.rounds < 1 or args.processes < 1:
        raise ConfigError("--rounds and --processes must be at least 1")
    found = rates(args.ours, args.peers, args.root, peer_python=args.peer_python, size=args.size,
                  processes=args.processes, rounds=args.rounds)  # fmt: skip
    print(format_rates(found))
    if args.output:
        write_json(found, args.output)


def _report(args: argparse.Namespace) -> None:
    make_folder(args.output)
    models: list[Any] = []
    try:
        models.extend(h2h.build_models(args.ours, args.peers, peer_python=args.peer_python, size=args.size,
                                     threads=args.threads, options=args.opts))  # fmt: skip
        result = {"size": args.size, "threads": args.threads,
                  "cost": {model.name: model.cost for model in models}}  # fmt: skip
        if args.root:
            result["scores"] = h2h.scores(models, args.root, args.splits, args.output, args.sigmas, args.max_people)
            for split in args.splits:
                h2h.draw_images(models, args.root, split, args.output)
        if args.rounds:
            image = args.image or h2h.noise_image(os.path.join(args.output, "noise.png"), args.size)
            result["latency"] = h2h.latencies(models, image, rounds=args.rounds)
    finally:
        for model in models:
            model.close()
    h2h.write_report(result, args.output)
    print(h2h.format_report(result))


if __name__ == "__main__":
    main()
