"""Score a file of COCO keypoint results as pycocotools does; without one, the ground truth itself (AP must be 100).

rle-onestage score-results --results coco_instances_results.json --dataset rle_coco_2017_val
rle-onestage score-results --results coco_instances_results.json --config-file output/own/config.yaml --dataset own_val
rle-onestage score-results --results coco_instances_results.json --annotations person_keypoints_val.json
rle-onestage score-results --annotations person_keypoints_val.json

With --results, rle-onestage evaluate does the same.
"""

import argparse
import os
from collections.abc import Sequence

from rle_onestage.cli.checks import check_config, check_file, check_not_input, check_output, check_results
from rle_onestage.cli.options import add_options, parse_options, read_config, start, test_set
from rle_onestage.errors import exits_with_sentence
from rle_onestage.utils.arguments import CommandParser, positive_float, positive_int

OF_EVALUATE = """Score a file of COCO keypoint results, of any program, by the protocol of the data set.

rle-onestage evaluate --results results.json --dataset rle_coco_2017_val
rle-onestage evaluate --results results.json --config-file output/own/config.yaml --dataset own_val
rle-onestage evaluate --results results.json --annotations person_keypoints_val.json

Without --results, evaluate measures a model.
"""


def parse(
    arguments: Sequence[str] | None, command: str = "score-results", text: str | None = __doc__
) -> argparse.Namespace:
    """Read the command line."""
    parser = CommandParser(command, text)
    parser.add_argument("--annotations", metavar="FILE", help="the ground truth, in COCO's format")
    parser.add_argument(
        "--dataset", metavar="NAME",
        help="instead, a data set that has a name, or is in the config, whose images alone count (default with "
        "--config-file: the first of DATASETS.TEST)",
    )  # fmt: skip
    parser.add_argument("--config-file", metavar="FILE", help="a config that has --dataset")
    parser.add_argument(
        "--results", metavar="FILE",
        help="COCO results, or a folder of predict; without it, the ground truth is scored as predictions",
    )  # fmt: skip
    parser.add_argument(
        "--oks-sigmas", "--sigmas", nargs="+", type=positive_float, default=(), metavar="S",
        help="COCO's constants of the joints, one for each (default: the data set's, or by the joints' names)",
    )  # fmt: skip
    parser.add_argument(
        "--backend", choices=("auto", "pycocotools", "faster"), default="auto",
        help="what computes AP (default: auto, the faster one where it is installed)",
    )  # fmt: skip
    parser.add_argument(
        "--max-people", type=positive_int, metavar="N",
        help="results an image that count in keypoint AP (default: TEST.MAX_PEOPLE, 20 as in COCO)",
    )  # fmt: skip
    parser.add_argument("--json", metavar="FILE", help="also write the metrics")
    add_options(parser)
    args = parse_options(parser, arguments)
    if args.annotations and (args.dataset or args.config_file):
        parser.error("--annotations names the ground truth, and so do --dataset and --config-file; give one of them")
    if not (args.annotations or args.dataset or args.config_file):
        parser.error("the ground truth is not given; name it with --dataset, --config-file or --annotations")
    return args


@exits_with_sentence
def main(arguments: Sequence[str] | None = None, *, command: str = "score-results", text: str | None = __doc__) -> None:
    """Do what the command line says.

    Args:
        arguments: without the program's name; None takes those of this process.
        command: that was called, for its help and its complaints.
        text: what it does, for its help.
    """
    args = parse(arguments, command, text)
    check_config(args.config_file)
    check_file(args.annotations, "--annotations")
    check_results(args.results, "--results")
    check_output(args.json, "--json")
    check_not_input(args.json, "--json", [args.annotations, args.results])
    start(log=False)
    from rle_onestage.data.datasets import get_metadata
    from rle_onestage.evaluation import format_scores, score_results, write_json

    args.opts = [*args.opts, "MODEL.DEVICE", "cpu"]  # no model runs, so a missing GPU is nothing to warn of
    cfg = read_config(args, task="evaluation")
    annotations, oks_sigmas, dataset_name = args.annotations, args.oks_sigmas or cfg.TEST.KEYPOINT_OKS_SIGMAS, None
    if not annotations:
        dataset_name = test_set(cfg, args.dataset)
        annotations = get_metadata(dataset_name).json_file
    scores = score_results(
        annotations, args.results, oks_sigmas=oks_sigmas, backend=args.backend,
        max_people=args.max_people or cfg.TEST.MAX_PEOPLE, dataset_name=dataset_name,
    )  # fmt: skip
    print(format_scores(scores))
    if args.json:
        write_json(scores, os.path.abspath(args.json))
