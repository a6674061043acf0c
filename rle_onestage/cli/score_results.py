"""Score a file of COCO keypoint results as pycocotools does; without one, the ground truth itself (AP must be 100).

rle-onestage score-results --annotations person_keypoints_val.json --results coco_instances_results.json
rle-onestage score-results --annotations person_keypoints_val.json
"""

import argparse
import os
from collections.abc import Sequence

from rle_onestage.cli.checks import check_file, check_output
from rle_onestage.cli.options import start
from rle_onestage.errors import exits_with_sentence
from rle_onestage.utils.arguments import CommandParser, positive_float, positive_int


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = CommandParser("score-results", __doc__)
    parser.add_argument("--annotations", required=True, metavar="FILE", help="the ground truth, in COCO's format")
    parser.add_argument("--results", metavar="FILE", help="without it, the ground truth is scored as predictions")
    parser.add_argument(
        "--oks-sigmas", "--sigmas", nargs="+", type=positive_float, default=(), metavar="S",
        help="COCO's constants of the joints, one for each (default: by the joints' names)",
    )  # fmt: skip
    parser.add_argument("--backend", choices=("auto", "pycocotools", "faster"), default="auto")
    parser.add_argument(
        "--max-people", type=positive_int, default=20, metavar="N",
        help="results an image that count in keypoint AP (COCO: 20)",
    )  # fmt: skip
    parser.add_argument("--json", metavar="FILE", help="also write the metrics")
    return parser.parse_args(arguments)


@exits_with_sentence
def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    check_file(args.annotations, "--annotations")
    check_file(args.results, "--results")
    check_output(args.json, "--json")
    start(log=False)
    from rle_onestage.evaluation import format_scores, score_results, write_json

    scores = score_results(
        args.annotations, args.results, oks_sigmas=args.oks_sigmas, backend=args.backend, max_people=args.max_people
    )
    print(format_scores(scores))
    if args.json:
        write_json(scores, os.path.abspath(args.json))
