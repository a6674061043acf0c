"""People in many images, as Parquet files: folders, tar shards, tables, videos; in this process or on Ray.

rle-onestage predict --input photographs 'more/*.jpg' --output people
rle-onestage predict --input 'shards/*.tar' --output people --ray local --actors 2 --format coco
rle-onestage predict --input s3://bucket/images --output s3://bucket/people --ray head:6379 --gpus-per-actor 0.25
rle-onestage predict --input clip.mp4 --output people --model output/own/model_final.pth
rle-onestage predict --plan 1000000 --machines 1 4 16 --output people

The same command goes on with a job that was interrupted.

exit codes:
  0    all is written; images that cannot be read are rows with their errors
  1    all is written, but more images than --max-errors have errors, or more shards, tables and pieces of videos
       could not be read to their end
  2    the job cannot begin, or cannot go on; the last line says why, and what to do; what was written stays
  130  interrupted by Ctrl-C (143: by SIGTERM); what was written stays
"""

import argparse
import math
from collections.abc import Sequence

from rle_onestage.cli.checks import check_given
from rle_onestage.cli.options import add_options, add_precision, parse_options, start
from rle_onestage.errors import ConfigError, check_score, exits_with_sentence
from rle_onestage.utils.arguments import CommandParser, natural_float, number, positive_float, positive_int

_OF_PLAN = ("machines", "cores", "bandwidth")


def share(text: str) -> float:
    """A share: ``1%`` or ``0.01``."""
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share such as 1% or 0.01")
    return value


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = CommandParser("predict", __doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--input", nargs="+", metavar="WHAT",
        help="images, folders with all below them, globs in quotes, lists of paths (.txt), WebDataset shards (.tar), "
        "Parquet files, videos; paths or addresses such as s3://bucket/folder",
    )  # fmt: skip
    what.add_argument(
        "--plan", type=positive_int, metavar="N", help="say what N images cost, by the rates of the job in --output"
    )
    parser.add_argument("--output", required=True, metavar="WHERE", help="the folder of the Parquet files")
    parser.add_argument(
        "--model", metavar="NAME",
        help="a name of the model zoo, a config (.yaml), weights (.pth) beside their config.yaml, or an exported file "
        "(.onnx) (default: people)",
    )  # fmt: skip
    parser.add_argument("--config-file", metavar="FILE", help="a config, with MODEL.WEIGHTS, as in the other commands")
    _add_work(parser)
    _add_plan(parser)
    add_precision(parser)
    add_options(parser)
    args = parse_options(parser, arguments)
    if args.model is not None and args.config_file is not None:
        parser.error("--model and --config-file both name the model; leave one out")
    args.model = args.model or args.config_file or "people"
    return args


def _add_work(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ray", metavar="ADDRESS", help="of a Ray cluster; local: one on this machine; without it this process works"
    )
    parser.add_argument("--actors", type=positive_int, metavar="N", help="of Ray (default: as many as fit)")
    parser.add_argument(
        "--threads",
        type=positive_int,
        metavar="N",
        help="of an actor (default: 1) or of this process (default: OMP_NUM_THREADS, or else all cores)",
    )
    parser.add_argument(
        "--gpus-per-actor", type=natural_float, metavar="G", help="a share lets actors share a GPU (default: 0)"
    )
    parser.add_argument("--batch", type=positive_int, default=8, metavar="N", help="images at once (default: 8)")
    parser.add_argument("--rows", type=positive_int, default=1000, metavar="N", help="of a file (default: 1000)")
    parser.add_argument("--column", metavar="NAME", help="of Parquet files, that has the images or their paths")
    parser.add_argument(
        "--confidence-threshold", type=number, default=0.0, metavar="S",
        help="lowest score that is kept (default: 0, all that the model gives, which AP and tracking need)",
    )  # fmt: skip
    parser.add_argument(
        "--max-errors", type=share, default=0.01, metavar="SHARE",
        help="of images that may have an error, and of shards, tables and pieces of videos that may not be read to "
        "their end, before the job ends with 1 (default: 1%%)",
    )  # fmt: skip
    parser.add_argument(
        "--format", choices=("parquet", "coco"), default="parquet",
        help="coco also writes COCO results, to WHERE.json, and names and half-widths of the joints, to "
        "WHERE_joints.json (default: parquet)",
    )  # fmt: skip


def _add_plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--machines", nargs="+", type=positive_int, metavar="N", help="of --plan (default: 1 2 4 8 16)")
    parser.add_argument("--cores", type=positive_int, metavar="N", help="of a machine (default: of this one)")
    parser.add_argument(
        "--bandwidth", type=positive_float, metavar="MB",
        help="megabytes a second that the storage of all machines passes (default: measured by writing to --output)",
    )  # fmt: skip


def _check(args: argparse.Namespace) -> None:
    """Raises ConfigError for flags that have nothing to do."""
    given = [flag for flag in _OF_PLAN if getattr(args, flag) is not None]
    if args.input and given:
        raise ConfigError(f"--{given[0]} belongs to --plan; leave it out")
    if args.input and args.ray is None:
        for flag in ("actors", "gpus_per_actor"):
            if getattr(args, flag) is not None:
                name = flag.replace("_", "-")
                raise ConfigError(f"--{name} {getattr(args, flag):g} needs --ray; give --ray local for this machine")
    check_given(args.output, "--output")
    check_given(args.ray, "--ray")
    check_score(args.confidence_threshold, "--confidence-threshold")


@exits_with_sentence
def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit code."""
    args = parse(arguments)
    _check(args)
    start()
    if args.plan:
        return _plan(args)
    from rle_onestage.engine.config.imports import KEY as IMPORTS
    from rle_onestage.engine.config.schema import settle
    from rle_onestage.scale import JobOptions, ModelChoice, RayOptions, predict
    from rle_onestage.utils import signals

    imports = settle(IMPORTS, args.imports, [], "--import")
    model = ModelChoice(args.model, tuple(args.opts), tuple(imports), args.precision)
    options = JobOptions(
        rows=args.rows, batch=args.batch, column=args.column, min_score=args.confidence_threshold,
        max_errors=args.max_errors, coco=args.format == "coco",
    )  # fmt: skip
    ray = None
    if args.ray is not None:
        ray = RayOptions(args.ray, args.actors, args.threads or 1, args.gpus_per_actor or 0.0)
    with signals.raising():
        summary = predict(args.input, model, output=args.output, ray=ray, threads=args.threads, options=options)
    return 1 if summary.failed else 0


def _plan(args: argparse.Namespace) -> int:
    """Say what images cost."""
    from rle_onestage.scale import Machine, estimate, format_estimates, read_summary, write_rate
    from rle_onestage.utils.cores import usable_cores

    measured = read_summary(args.output)
    bandwidth = args.bandwidth * 1e6 if args.bandwidth else write_rate(args.output)
    cores, threads = args.cores or usable_cores(), args.threads or measured.threads
    machine = Machine(args.actors or max(1, cores // threads), cores, threads)
    machines = args.machines or [1, 2, 4, 8, 16]
    found = [estimate(args.plan, each, machine, measured, bandwidth) for each in machines]
    print(format_estimates(args.plan, found, measured, bandwidth))
    return 0
