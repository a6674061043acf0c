#!/usr/bin/env python3
"""Label people in images with a trained model: what it is sure of, as a COCO-format keypoint file.

python tools/label_images.py --input folder '*.jpg' --output labels.json --image-root folder
python tools/label_images.py --config-file C --input folder --output labels.json --max-sigma 0.1 eye=0.04 --opts ...
python tools/label_images.py --labels a.json b.json --score-against person_keypoints.json
"""

import argparse
import sys
from pathlib import Path

from detectron2.utils.logger import setup_logger

from rle_onestage.engine.setup import load_config
from rle_onestage.errors import ConfigError, exits_with_sentence
from rle_onestage.labelling import LabelOptions, Limit, compare_files, format_comparison, label_images
from rle_onestage.predictor import PRECISIONS, Predictor

DEMO_CONFIG = str(Path(__file__).resolve().parents[1] / "configs" / "demo.yaml")
USUAL = LabelOptions()
NUMBERS = {
    "match": "detections of two views are one person at this mean of OKS and box IoU",
    "min_view_share": "share of the views that find a labelled person",
    "min_score": "lowest score of a labelled person",
    "ignore_score": "lowest score of an ignore region",
}
LIMITS = {
    "max_sigma": "largest sigma of a kept joint, over the root of the area",
    "min_oks": "smallest expected OKS of a kept joint",
    "min_presence": "smallest probability that a kept joint is in the image",
    "max_spread": "largest distance of the views from a kept joint, over the root of the area",
    "max_disagreement": "the same in the views' own sigmas",
}


def _positive(text):
    """A whole number above 0, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def parse(arguments):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--input", nargs="+", metavar="PATH", help="image files, folders, or globs in quotes")
    source.add_argument("--labels", nargs="+", metavar="FILE", help="files of labels to compare with --score-against")
    parser.add_argument("--output", metavar="FILE", help="the file of labels to write")
    parser.add_argument(
        "--config-file",
        default=DEMO_CONFIG,
        metavar="FILE",
        help="a config of configs/ or a run's config.yaml (default: configs/demo.yaml, with weights of its own)",
    )
    parser.add_argument("--image-root", metavar="DIR", help="the file's image names are relative to this folder")
    parser.add_argument("--limit", type=_positive, metavar="N", help="label the first N images")
    parser.add_argument(
        "--sizes",
        nargs="+",
        type=int,
        default=list(USUAL.sizes),
        metavar="S",
        help="longest sides at which each image is looked at (320 448 640)",
    )
    parser.add_argument("--no-mirror", action="store_true", help="do not look at mirrored images too")
    parser.add_argument("--no-ignore", action="store_true", help="leave doubtful people out instead of ignore regions")
    parser.add_argument(
        "--min-joints",
        type=int,
        default=USUAL.min_joints,
        metavar="N",
        help=f"fewest kept joints of a labelled person ({USUAL.min_joints})",
    )
    for name, text in NUMBERS.items():
        usual = getattr(USUAL, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=usual, metavar="X",
                            help=f"{text} ({usual:g})")  # fmt: skip
    for name, text in LIMITS.items():
        usual = getattr(USUAL, name).value
        parser.add_argument(f"--{name.replace('_', '-')}", nargs="+", default=[str(usual)], metavar="X",
                            help=f"{text} ({usual:g}); for some parts another: 0.1 eye=0.05 ear=0.05")  # fmt: skip
    parser.add_argument("--score-against", metavar="FILE", help="compare with this COCO-format file of the same images")
    parser.add_argument(
        "--complete-key",
        metavar="KEY",
        help="only images of --score-against with this field have all people marked (default: all images)",
    )
    parser.add_argument("--teacher", action="store_true", help="show the published figures of MoveNet's labels too")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="of the convolutions")
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config keys to change"
    )
    return parser.parse_args(arguments)


def options_from(args):
    """The command line as :class:`LabelOptions`."""
    return LabelOptions(
        sizes=tuple(args.sizes), mirror=not args.no_mirror, ignore_regions=not args.no_ignore,
        min_joints=args.min_joints, **{name: getattr(args, name) for name in NUMBERS},
        **{name: Limit.parse(getattr(args, name)) for name in LIMITS},
    )  # fmt: skip


@exits_with_sentence
def main(arguments=None):
    """Do what the command line says; returns the exit code."""
    args = parse(arguments)
    setup_logger(name="rle_onestage", abbrev_name="rle")
    code, files = 0, args.labels
    if args.input:
        if not args.output:
            raise ConfigError("there is no --output; name the file that the labels go to")
        options = options_from(args)
        cfg = load_config(args.config_file, args.opts)
        code = label_images(
            Predictor(cfg, precision=args.precision), args.input, args.output, options=options,
            image_root=args.image_root, limit=args.limit, info={"weights": cfg.MODEL.WEIGHTS},
        )  # fmt: skip
        files = [args.output]
    elif not args.score_against:
        raise ConfigError("--labels needs --score-against; name the file to compare with")
    if args.score_against and not code:
        print(format_comparison(compare_files(files, args.score_against, complete_key=args.complete_key),
                                teachers=args.teacher))  # fmt: skip
    return code


if __name__ == "__main__":
    sys.exit(main())
