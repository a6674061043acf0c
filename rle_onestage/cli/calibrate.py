#!/usr/bin/env python3
"""Measure whether a model's sigmas and scores can be trusted, and correct them on held-out images.

python tools/calibrate.py --config-file output/run/config.yaml MODEL.WEIGHTS output/run/model_final.pth
python tools/calibrate.py --config-file C MODEL.WEIGHTS W --dataset D --fit-share 0.3 --output calibrated.pth
python tools/calibrate.py --config-file C --dataset D --fit-dataset F --opts MODEL.WEIGHTS W
"""

import argparse

from detectron2.utils.logger import setup_logger

from rle_onestage.calibration.fit import calibrate, format_report
from rle_onestage.engine.setup import load_config
from rle_onestage.errors import ConfigError, exits_with_sentence


def parse(arguments):
    """Read the command line; options of the config may stand anywhere, with ``--opts`` or without."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="FILE")
    parser.add_argument("--dataset", metavar="NAME", help="to report on; default: the first of DATASETS.TEST")
    held_out = parser.add_mutually_exclusive_group()
    held_out.add_argument("--fit-dataset", nargs="+", default=[], metavar="NAME", help="others to fit on, all as one")
    held_out.add_argument("--fit-share", type=float, default=0.5, metavar="S", help="of the images; default: 0.5")
    parser.add_argument("--output", metavar="FILE", help="checkpoint; default: OUTPUT_DIR/model_calibrated.pth")
    parser.add_argument("--report-dir", metavar="DIR", help="figures and plots; default: OUTPUT_DIR/calibration")
    parser.add_argument("--resamples", type=int, default=500, metavar="N", help="of the images, for intervals of AP")
    parser.add_argument("--opts", nargs="*", default=[], metavar="KEY VALUE")
    parser.add_argument("options", nargs="*", metavar="KEY VALUE")
    return parser.parse_intermixed_args(arguments)


@exits_with_sentence
def main(arguments=None):
    """Do what the command line says."""
    args = parse(arguments)
    setup_logger(name="rle_onestage", abbrev_name="rle")
    cfg = load_config(args.config_file, [*args.opts, *args.options])
    if not (args.dataset or cfg.DATASETS.TEST):
        raise ConfigError("DATASETS.TEST is empty; name the data set with --dataset")
    report = calibrate(
        cfg,
        args.dataset or cfg.DATASETS.TEST[0],
        fit_datasets=args.fit_dataset,
        fit_share=args.fit_share,
        output=args.output,
        folder=args.report_dir,
        resamples=args.resamples,
    )
    print(format_report(report))


if __name__ == "__main__":
    main()
