#!/usr/bin/env python3
r"""Train one config under several losses and seeds, and compare them: a table, a plot and the JSON behind them.

python projects/loss_comparison/compare_losses.py --config-file projects/loss_comparison/configs/synthetic.yaml \
    --output output/compare --jobs 2
python projects/loss_comparison/compare_losses.py --config-file C --output DIR \
    --losses l1 laplace rle --seeds 1 2 3 --opts KEY VALUE ...
python projects/loss_comparison/compare_losses.py ... \
    --baselines projects/loss_comparison/configs/keypoint_rcnn_synthetic.yaml

What is finished is not done again, so the same command goes on after a Ctrl-C.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from detectron2.utils.logger import setup_logger
from loss_comparison import LOSSES, compare_losses, format_comparison, read_rules

from rle_onestage.errors import EXIT_CODE, ConfigError, exits_with_sentence
from rle_onestage.utils.arguments import natural_int, positive_int


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="FILE")
    parser.add_argument("--output", required=True, metavar="DIR", help="each run goes to DIR/<loss>/seed<k>")
    parser.add_argument(
        "--losses", nargs="*", default=["l1", "laplace", "rle"], metavar="NAME", help=f"among {', '.join(LOSSES)}"
    )
    parser.add_argument("--rules", metavar="FILE", help="YAML of further losses: a name, and the config keys it sets")
    parser.add_argument(
        "--baselines", nargs="+", default=[], metavar="FILE", help="configs of other models, trained beside the losses"
    )
    parser.add_argument(
        "--baseline-weights", nargs="+", default=[], metavar="FILE", help="MODEL.WEIGHTS of each of them to start from"
    )
    parser.add_argument("--seeds", nargs="+", type=natural_int, default=[1, 2, 3], metavar="N")
    parser.add_argument(
        "--jobs", type=positive_int, default=1, metavar="N", help="trainings at a time; they share the cores"
    )
    parser.add_argument("--report-only", action="store_true", help="compare what is there, train nothing")
    parser.add_argument("--opts", nargs="*", default=[], metavar="KEY VALUE", help="of the config, for all runs")
    return parser.parse_args(arguments)


@exits_with_sentence
def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    setup_logger(name="rle_onestage", abbrev_name="rle")
    if args.jobs < 1:
        raise ConfigError(f"--jobs is {args.jobs}; it must be at least 1")
    comparison, paths, signum = compare_losses(
        args.config_file,
        args.output,
        script=str(Path(__file__).resolve().parents[2] / "tools" / "train_net.py"),
        losses=args.losses,
        seeds=args.seeds,
        baselines=args.baselines,
        baseline_weights=args.baseline_weights,
        options=args.opts,
        rules=read_rules(args.rules) if args.rules else None,
        jobs=args.jobs,
        train=not args.report_only,
    )
    print(format_comparison(comparison), *paths, sep="\n")
    if signum:
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(128 + signum)
    sys.exit(EXIT_CODE if comparison["failures"] else 0)


if __name__ == "__main__":
    main()
