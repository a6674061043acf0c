#!/usr/bin/env python3
"""Train one config under several losses and seeds, and compare them: a table, a plot and the JSON behind them.

python tools/compare_losses.py --config-file configs/compare/synthetic.yaml --output output/compare --jobs 2
python tools/compare_losses.py --config-file C --output DIR --losses l1 laplace rle --seeds 1 2 3 --opts KEY VALUE ...

What is finished is not done again, so the same command goes on after a Ctrl-C.
"""

import argparse
import sys
from pathlib import Path

from detectron2.utils.logger import setup_logger

from rle_onestage.compare import LOSSES, plan, work_off
from rle_onestage.errors import exits_with_sentence


def parse(arguments):
    """Read the command line; options of the config may stand anywhere, with ``--opts`` or without."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="FILE")
    parser.add_argument("--output", required=True, metavar="DIR", help="each run goes to DIR/<loss>/seed<k>")
    parser.add_argument(
        "--losses", nargs="+", default=["l1", "laplace", "rle"], metavar="NAME", help=f"among {', '.join(LOSSES)}"
    )
    parser.add_argument(
        "--baselines", nargs="+", default=[], metavar="FILE", help="configs of other models, trained beside the losses"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3], metavar="N")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="trainings at a time; they share the cores")
    parser.add_argument("--opts", nargs="*", default=[], metavar="KEY VALUE", help="of the config, for all runs")
    return parser.parse_args(arguments)


@exits_with_sentence
def main(arguments=None):
    """Do what the command line says."""
    args = parse(arguments)
    setup_logger(name="rle_onestage", abbrev_name="rle")
    script = str(Path(__file__).with_name("train_net.py"))
    runs = plan(
        args.config_file,
        args.output,
        losses=args.losses,
        seeds=args.seeds,
        baselines=args.baselines,
        options=args.opts,
    )
    signum, failures = work_off(runs, script=script, output=args.output, jobs=args.jobs)
    print(signum, failures)
    sys.exit(128 + signum if signum else 0)


if __name__ == "__main__":
    main()
