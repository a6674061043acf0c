"""Measure whether a model's sigmas and scores can be trusted, and correct them on held-out images.

rle-onestage calibrate --config-file output/run/config.yaml MODEL.WEIGHTS output/run/model_final.pth
rle-onestage calibrate --config-file C MODEL.WEIGHTS W --dataset D --fit-share 0.3 --output calibrated.pth
rle-onestage calibrate --config-file C --dataset D --fit-dataset F --opts MODEL.WEIGHTS W
"""

import argparse
from collections.abc import Sequence

from rle_onestage.cli.checks import check_config, check_output, check_output_folder
from rle_onestage.cli.options import add_config_file, add_options, parse_options, read_config, start, test_set
from rle_onestage.errors import exits_with_sentence
from rle_onestage.utils.arguments import CommandParser, positive_int, share


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; options of the config may stand anywhere, with ``--opts`` or without."""
    parser = CommandParser("calibrate", __doc__)
    add_config_file(parser)
    parser.add_argument("--dataset", metavar="NAME", help="to report on (default: the first of DATASETS.TEST)")
    held_out = parser.add_mutually_exclusive_group()
    held_out.add_argument("--fit-dataset", nargs="+", default=[], metavar="NAME", help="others to fit on, all as one")
    held_out.add_argument("--fit-share", type=share, default=0.5, metavar="S", help="of the images (default: 0.5)")
    parser.add_argument(
        "--output", metavar="FILE", help="the checkpoint to write (default: OUTPUT_DIR/model_calibrated.pth)"
    )
    parser.add_argument(
        "--report-dir", metavar="DIR", help="for tables, metrics and plots (default: OUTPUT_DIR/calibration)"
    )
    parser.add_argument(
        "--resamples", type=positive_int, default=500, metavar="N", help="of the images, for intervals (default: 500)"
    )
    add_options(parser)
    return parse_options(parser, arguments)


@exits_with_sentence
def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    check_config(args.config_file, args.opts)
    check_output(args.output, "--output", through=False)
    check_output_folder(args.report_dir, "--report-dir")
    start()
    from rle_onestage.calibration import calibrate, format_summary
    from rle_onestage.data.lookup import check_sets

    cfg = read_config(args, task="evaluation")
    check_sets(cfg, [], needed=args.fit_dataset)
    report = calibrate(
        cfg,
        test_set(cfg, args.dataset),
        fit_datasets=args.fit_dataset,
        fit_share=args.fit_share,
        output=args.output,
        folder=args.report_dir,
        resamples=args.resamples,
    )
    print(format_summary(report))
