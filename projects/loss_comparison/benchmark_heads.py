#!/usr/bin/env python3
r"""Measure keypoint heads in one two-stage model: FLOPs, memory and time with 1 to 20 people in the image.

python projects/loss_comparison/benchmark_heads.py
python projects/loss_comparison/benchmark_heads.py --config-file configs/coco/keypoint_rcnn_R_50_FPN_1x_rle.yaml \
    --size 320 --people 1 20 --rounds 3 --opts MODEL.RESNETS.NORM GN

``rle`` and ``l1`` are RLEKeypointHead as the config has it, with either density; ``heatmap`` is Detectron2's own head.
Time does not depend on the weights, so that random ones do; frozen norms of random weights let a ResNet overflow.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from loss_comparison.cost import format_costs, measure_heads, write_costs

from rle_onestage.errors import exits_with_sentence
from rle_onestage.utils.arguments import positive_int

CONFIG = Path(__file__).resolve().parent / "configs" / "keypoint_rcnn_rle_synthetic.yaml"
OFFLINE = ["MODEL.WEIGHTS", "", "MODEL.DEVICE", "cpu"]
HEADS = {
    "heatmap": [
        "MODEL.ROI_KEYPOINT_HEAD.NAME", "KRCNNConvDeconvUpsampleHead",
        "MODEL.ROI_KEYPOINT_HEAD.POOLER_RESOLUTION", "14",
    ],
    "rle": ["MODEL.RLE_ONESTAGE.DENSITY", "rle"],
    "l1": ["MODEL.RLE_ONESTAGE.DENSITY", "l1"],
}  # fmt: skip


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", default=str(CONFIG), metavar="FILE", help="of a model with RLEKeypointHead")
    parser.add_argument("--heads", nargs="+", choices=list(HEADS), default=list(HEADS))
    parser.add_argument("--size", type=positive_int, default=192, metavar="PX", help="side of the image")
    parser.add_argument("--people", nargs="+", type=positive_int, default=[1, 5, 20], metavar="N")
    parser.add_argument("--threads", nargs="+", type=positive_int, default=[1], metavar="N")
    parser.add_argument("--rounds", type=positive_int, default=30, metavar="N")
    parser.add_argument("--cpu-time", action="store_true", help="not the wall's: on a machine with other work")
    parser.add_argument("--opts", nargs="*", default=[], metavar="KEY VALUE", help="of the config, for all heads")
    parser.add_argument("--output", metavar="FILE.json")
    return parser.parse_args(arguments)


@exits_with_sentence
def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    heads = {name: [*OFFLINE, *args.opts, *options] for name, options in HEADS.items() if name in args.heads}
    report = measure_heads(
        args.config_file,
        heads,
        size=args.size,
        people=args.people,
        threads=args.threads,
        rounds=args.rounds,
        clock=time.process_time if args.cpu_time else None,
    )
    print(format_costs(report))
    if args.output:
        write_costs(report, args.output)


if __name__ == "__main__":
    main()
