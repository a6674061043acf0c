"""Score a file of COCO keypoint results as pycocotools does; without one, the ground truth itself (AP must be 100).

rle-onestage score-results --annotations person_keypoints_val.json --results coco_instances_results.json
rle-onestage score-results --annotations person_keypoints_val.json
rle-onestage score-results --config-file output/own/config.yaml --dataset own_val --results coco_instances_results.json
"""

import argparse
import os
from collections.abc import Sequence

from rle_onestage.cli.checks import check_config, check_file, check_output
from rle_onestage.cli.options import start, test_set
from rle_onestage.errors import exits_with_sentence
from rle_onestage.utils.arguments import CommandParser, positive_float, positive_int


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = CommandParser("score-results", __doc__)
    labels = parser.add_mutually_exclusive_group(required=True)
    labels.add_argument("--annotations", metavar="FILE", help="the ground truth, in COCO's format")
    labels.add_argument("--config-file", metavar="FILE", help="the config that has --dataset, whose images alone count")
    parser.add_argument("--dataset", metavar="NAME", help="with --config-file (default: the first of DATASETS.TEST)")
    parser.add_argument("--results", metavar="FILE", help="without it, the ground truth is scored as predictions")
    parser.add_argument(
        "--oks-sigmas", "--sigmas", nargs="+", type=positive_float, default=(), metavar="S",
        help="COCO's constants of the joints, one for each (default: by the joints' names)",
    )  # fmt: skip
    parser.add_argument(
        "--backend", choices=("auto", "pycocotools", "faster"), default="auto",
        help="what computes AP (default: auto, the faster one where it is installed)",
    )  # fmt: skip
    parser.add_argument(
        "--max-people", type=positive_int, default=20, metavar="N",
        help="results an image that count in keypoint AP (default: 20, as in COCO)",
    )  # fmt: skip
    parser.add_argument("--json", metavar="FILE", help="also write the metrics")
    args = parser.parse_args(arguments)
    if args.dataset and not args.config_file:
        parser.error("--dataset needs --config-file, the config that has this data set")
    return args


@exits_with_sentence
def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    check_config(args.config_file)
    check_file(args.annotations, "--annotations")
    check_file(args.results, "--results")
    check_output(args.json, "--json")
    start(log=False)
    from rle_onestage.evaluation import format_scores, score_results, write_json

    annotations, oks_sigmas, dataset_name = args.annotations, args.oks_sigmas, None
    if args.config_file:
        from rle_onestage.data.datasets import get_metadata
        from rle_onestage.engine.setup import load_config

        cfg = load_config(args.config_file)
        dataset_name = test_set(cfg, args.dataset)
        annotations = get_metadata(dataset_name).json_file
        oks_sigmas = oks_sigmas or cfg.TEST.KEYPOINT_OKS_SIGMAS
    scores = score_results(
        annotations, args.results, oks_sigmas=oks_sigmas, backend=args.backend, max_people=args.max_people,
        dataset_name=dataset_name,
    )  # fmt: skip
    print(format_scores(scores))
    if args.json:
        write_json(scores, os.path.abspath(args.json))
