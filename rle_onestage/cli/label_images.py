"""Label people in images with a trained model: what it is sure of, as a COCO-format keypoint file.

rle-onestage label-images --input folder '*.jpg' --output labels.json --image-root folder
rle-onestage label-images --config-file C --input folder --output labels.json --max-sigma 0.1 eye=0.04 --opts ...
rle-onestage label-images --labels a.json b.json --score-against person_keypoints.json
"""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rle_onestage.cli.checks import (
    check_config,
    check_file,
    check_images,
    check_not_input,
    check_output,
    check_results,
)
from rle_onestage.cli.options import add_config_file, add_options, add_precision, parse_options, read_config, start
from rle_onestage.errors import ConfigError, exits_with_sentence
from rle_onestage.utils.arguments import CommandParser, number, positive_int

if TYPE_CHECKING:
    from rle_onestage.labelling import LabelOptions

CONFIG = "demo.yaml"
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


def parse(arguments: Sequence[str] | None, usual: "LabelOptions") -> argparse.Namespace:
    """Read the command line.

    Args:
        arguments: without the program's name.
        usual: the defaults.
    """
    parser = CommandParser("label-images", __doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--input", nargs="+", metavar="PATH", help="image files, folders, or globs in quotes")
    source.add_argument(
        "--labels", nargs="+", metavar="FILE",
        help="files of labels, or folders of predict, to compare with --score-against",
    )  # fmt: skip
    parser.add_argument("--output", metavar="FILE", help="the file of labels to write")
    add_config_file(parser, default=CONFIG)
    parser.add_argument("--image-root", metavar="DIR", help="the file's image names are relative to this folder")
    parser.add_argument(
        "--number", "--limit", type=positive_int, metavar="N", help="label the first N images (default: all)"
    )
    _add_thresholds(parser, usual)
    parser.add_argument("--score-against", metavar="FILE", help="compare with this COCO-format file of the same images")
    parser.add_argument(
        "--complete-key", metavar="KEY",
        help="only images of --score-against with this field have all people marked (default: all images)",
    )  # fmt: skip
    parser.add_argument("--teacher", action="store_true", help="show the published metrics of MoveNet's labels too")
    add_precision(parser)
    add_options(parser)
    return parse_options(parser, arguments)


def _add_thresholds(parser: argparse.ArgumentParser, usual: "LabelOptions") -> None:
    parser.add_argument(
        "--sizes", nargs="+", type=positive_int, default=list(usual.sizes), metavar="S",
        help="longest sides at which each image is looked at (default: 320 448 640)",
    )  # fmt: skip
    parser.add_argument("--no-mirror", action="store_true", help="do not look at mirrored images too")
    parser.add_argument("--no-ignore", action="store_true", help="leave doubtful people out instead of ignore regions")
    parser.add_argument(
        "--min-joints", type=positive_int, default=usual.min_joints, metavar="N",
        help=f"fewest kept joints of a labelled person (default: {usual.min_joints})",
    )  # fmt: skip
    for name, text in NUMBERS.items():
        value = getattr(usual, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=number, default=value, metavar="X",
                            help=f"{text} (default: {value:g})")  # fmt: skip
    for name, text in LIMITS.items():
        value = getattr(usual, name).value
        parser.add_argument(
            f"--{name.replace('_', '-')}", nargs="+", default=[str(value)], metavar="X",
            help=f"{text} (default: {value:g}); for some parts another: 0.1 eye=0.05 ear=0.05",
        )  # fmt: skip


def options_from(args: argparse.Namespace) -> "LabelOptions":
    """The command line as :class:`~rle_onestage.labelling.options.LabelOptions`."""
    from rle_onestage.labelling import LabelOptions, Limit

    return LabelOptions(
        sizes=tuple(args.sizes),
        mirror=not args.no_mirror,
        match=args.match,
        min_view_share=args.min_view_share,
        min_score=args.min_score,
        min_joints=args.min_joints,
        ignore_score=args.ignore_score,
        ignore_regions=not args.no_ignore,
        max_sigma=Limit.parse(args.max_sigma),
        min_oks=Limit.parse(args.min_oks),
        min_presence=Limit.parse(args.min_presence),
        max_spread=Limit.parse(args.max_spread),
        max_disagreement=Limit.parse(args.max_disagreement),
    )


@exits_with_sentence
def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit code."""
    start()
    from rle_onestage.labelling import LabelOptions, compare_files, format_comparison, label_images
    from rle_onestage.predictor import Predictor

    args = parse(arguments, LabelOptions())
    code, files = 0, args.labels
    for path in files or ():
        check_results(path, "--labels")
    check_file(args.score_against, "--score-against")
    if args.input:
        if not args.output:
            raise ConfigError("there is no --output; name the file that the labels go to")
        check_images(args.input)
        check_output(args.output, "--output")
        check_not_input(args.output, "--output", [args.score_against])
        check_config(args.config_file, args.opts)
        options = options_from(args)
        cfg = read_config(args, packaged=CONFIG, task="inference", say_sizes=False)  # those of --sizes are taken
        code = label_images(
            Predictor(cfg, precision=args.precision), args.input, args.output, options=options,
            image_root=args.image_root, limit=args.number, info={"weights": cfg.MODEL.WEIGHTS},
        )  # fmt: skip
        files = [args.output]
    elif not args.score_against:
        raise ConfigError("--labels needs --score-against; name the file to compare with")
    if args.score_against and not code:
        print(format_comparison(compare_files(files, args.score_against, complete_key=args.complete_key),
                                teachers=args.teacher))  # fmt: skip
    return code
