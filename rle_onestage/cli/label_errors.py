"""List and draw the labels of a data set that a trained model finds least likely, with what would explain them.

People are ranked by how much likelier their labels are with the best explanation (two joints exchanged, one misplaced,
...): by the nats that it gains, over the number of labels that it concerns. Look at the pages from the first on, and
judge each person with your own eyes, as the model may be wrong too. Where it is the label, correct your label file;
label_errors.json has the corrected joints. Stop where most people of a page are labelled rightly, and train again.

rle-onestage label-errors --config-file C --dataset D MODEL.WEIGHTS W
rle-onestage label-errors --config-file C --dataset D --number 100 --output DIR --opts MODEL.WEIGHTS W
"""

import argparse
import os
from collections.abc import Sequence

from rle_onestage.cli.checks import check_config, check_output_folder
from rle_onestage.cli.options import add_config_file, add_options, parse_options, read_config, start, test_set
from rle_onestage.errors import check_score, exits_with_sentence
from rle_onestage.utils.arguments import CommandParser, number, positive_int


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; options of the config may stand anywhere, with ``--opts`` or without."""
    parser = CommandParser("label-errors", __doc__)
    add_config_file(parser)
    parser.add_argument("--dataset", metavar="NAME", help="to look at (default: the first of DATASETS.TEST)")
    parser.add_argument(
        "--number", type=positive_int, default=50, metavar="N", help="how many people are listed (default: 50)"
    )
    parser.add_argument("--output", metavar="DIR", help="to write to (default: OUTPUT_DIR/label_errors)")
    parser.add_argument(
        "--confidence-threshold", type=number, default=0.1, metavar="S",
        help="lowest score of a prediction (default: 0.1)",
    )  # fmt: skip
    add_options(parser)
    return parse_options(parser, arguments)


@exits_with_sentence
def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    check_score(args.confidence_threshold, "--confidence-threshold")
    check_config(args.config_file, args.opts)
    check_output_folder(args.output, "--output")
    start()
    from rle_onestage.label_errors import find_label_errors

    cfg = read_config(args, task="evaluation")
    name = test_set(cfg, args.dataset)
    output = args.output or os.path.join(cfg.OUTPUT_DIR, "label_errors")
    found = find_label_errors(cfg, name, output, number=args.number, min_score=args.confidence_threshold)
    print(
        f"{found.trust.unlikely} of {found.people} labelled people have unlikely labels; "
        f"{len(found.label_errors)} of them are listed and drawn in {output}"
    )
