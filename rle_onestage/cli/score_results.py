#!/usr/bin/env python3
"""Score a file of COCO keypoint results as pycocotools does; without one, the ground truth itself (AP must be 100).

python tools/score_results.py --annotations person_keypoints_val.json --results coco_instances_results.json
python tools/score_results.py --annotations person_keypoints_val.json
"""

import argparse
import os

from rle_onestage.errors import exits_with_sentence
from rle_onestage.evaluation import write_json
from rle_onestage.visualization.report import format_scores, score_results


def parse(arguments):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", required=True, metavar="FILE")
    parser.add_argument("--results", metavar="FILE", help="without it, the ground truth is scored as predictions")
    parser.add_argument(
        "--sigmas", nargs="+", type=float, default=(), metavar="S", help="OKS sigmas, one for each joint"
    )
    parser.add_argument("--backend", choices=("auto", "pycocotools", "faster"), default="auto")
    parser.add_argument(
        "--max-people", type=int, default=20, metavar="N", help="results an image that count in keypoint AP (COCO: 20)"
    )
    parser.add_argument("--json", metavar="FILE", help="also write the figures")
    return parser.parse_args(arguments)


@exits_with_sentence
def main(arguments=None):
    """Do what the command line says."""
    args = parse(arguments)
    scores = score_results(
        args.annotations, args.results, sigmas=args.sigmas, backend=args.backend, max_people=args.max_people
    )
    print(format_scores(scores))
    if args.json:
        write_json(scores, os.path.abspath(args.json))


if __name__ == "__main__":
    main()
