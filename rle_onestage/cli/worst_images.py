"""Draw the images that an evaluated model did worst on: predictions beside labels, on one page.

The mean OKS of an image is over its labelled people: of each with the prediction that is its own, 0 if there is none.

rle-onestage worst-images --config-file output/run/config.yaml --output worst.jpg
rle-onestage worst-images --config-file C --results results.json --order file --number 30 --output page.jpg
"""

import argparse
import os
from collections.abc import Sequence

from rle_onestage.cli.checks import check_config, check_not_input, check_output, check_results
from rle_onestage.cli.options import add_config_file, add_options, parse_options, read_config, start, test_set
from rle_onestage.errors import DataError, check_score, counted, exits_with_sentence
from rle_onestage.utils.arguments import CommandParser, number, positive_int

# Those of visualization.results_page, which takes seconds to import.
ORDERS = ("worst", "best", "file")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = CommandParser("worst-images", __doc__)
    add_config_file(parser)
    parser.add_argument(
        "--results", metavar="FILE", help="to draw (default: what the evaluation left below OUTPUT_DIR/inference)"
    )
    parser.add_argument("--dataset", metavar="NAME", help="that was evaluated (default: the first of DATASETS.TEST)")
    parser.add_argument("--order", choices=ORDERS, default="worst", help="by OKS, or as in the file (default: worst)")
    parser.add_argument("--number", type=positive_int, default=12, metavar="N", help="how many images (default: 12)")
    parser.add_argument("--columns", type=positive_int, default=2, metavar="N", help="of the page (default: 2)")
    parser.add_argument(
        "--confidence-threshold", type=number, default=0.1, metavar="S",
        help="lowest score that is drawn (default: 0.1)",
    )  # fmt: skip
    parser.add_argument("--output", required=True, metavar="FILE", help="the page to write")
    add_options(parser)
    return parse_options(parser, arguments)


@exits_with_sentence
def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    check_output(args.output, "--output", through=False)
    check_score(args.confidence_threshold, "--confidence-threshold")
    check_config(args.config_file, args.opts)
    check_results(args.results, "--results")
    check_not_input(args.output, "--output", [args.results])
    start()
    from rle_onestage.evaluation import RESULTS_FILE, RESULTS_FOLDER
    from rle_onestage.visualization.results_page import page_of_results

    cfg = read_config(args, task="evaluation")
    results = args.results or _left_by_evaluation(os.path.join(cfg.OUTPUT_DIR, RESULTS_FOLDER, RESULTS_FILE))
    shown = page_of_results(
        cfg,
        test_set(cfg, args.dataset),
        results,
        args.output,
        count=args.number,
        order=args.order,
        columns=args.columns,
        threshold=args.confidence_threshold,
    )
    print("mean OKS (%)  labelled people  image")
    for score in shown:
        print(f"{100 * score.oks:12.1f}  {score.people:15}  {score.file_name}")
    print(f"{counted(len(shown), 'image is', 'images are')} drawn in {args.output}")


def _left_by_evaluation(path: str) -> str:
    """The path of what an evaluation wrote.

    Raises:
        DataError: it is not there.
    """
    if os.path.isfile(path):
        return path
    here = "" if os.path.isabs(path) else f"; OUTPUT_DIR is looked for in the working directory, {os.getcwd()}"
    raise DataError(
        f"there is no {path}, which an evaluation writes; run rle-onestage evaluate with this config first, or name "
        f"results with --results{here}"
    )
