#!/usr/bin/env python3
r"""Tracking and smoothing on clips with known identities: detections, tuning, tables, and time a frame.

python datasets/make_synthetic.py --preset clips --seed 200 --output output/clips/test  # and tune: --seed 100
python projects/video_benchmark/benchmark_video.py detect --clips output/clips/test \
    --output output/video/test --size 448
python projects/video_benchmark/benchmark_video.py report --clips output/clips/test --detections output/video/test \
    --output output/video/report --peer ByteTrack output/video/test_bytetrack/NAME --one-euro 2 1
python projects/video_benchmark/benchmark_video.py peers --clips output/clips/tune --detections output/video/tune \
    --peer output/video/tune_bytetrack
python projects/video_benchmark/benchmark_video.py tune --clips output/clips/tune \
    --detections output/video/tune --what tracking
python projects/video_benchmark/benchmark_video.py fit --clips output/clips/tune --detections output/video/tune
python projects/video_benchmark/benchmark_video.py speed --people 50
python projects/video_benchmark/benchmark_video.py demo --video clip.mp4 --output output/video/demo.mp4 --size 640
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from detectron2.utils.logger import setup_logger
from video_benchmark import commands

from rle_onestage.errors import exits_with_sentence
from rle_onestage.structures.skeleton import COCO
from rle_onestage.utils.arguments import natural_float, natural_int, positive_float, positive_int

SYNTHETIC_CONFIG = str(Path(__file__).resolve().parents[2] / "configs" / "demo_synthetic.yaml")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    jobs = parser.add_subparsers(dest="command", required=True)
    detect = jobs.add_parser("detect", help="run the model over the clips")
    detect.add_argument("--output", required=True, metavar="DIR")
    report = jobs.add_parser("report", help="tables, as Markdown and JSON")
    report.add_argument("--output", required=True, metavar="DIR")
    report.add_argument("--peer", nargs=2, action="append", default=[], metavar=("NAME", "DIR"))
    report.add_argument(
        "--one-euro", nargs=2, type=natural_float, action="append", default=[], metavar=("CUTOFF", "BETA")
    )
    report.add_argument("--equal", type=positive_float, default=0.06, help="share of the person's size for all sigmas")
    report.add_argument(
        "--equal-options", nargs="+", default=[], metavar="NAME=VALUE", help="the tracker's options that go with it"
    )
    peers = jobs.add_parser("peers", help="the best of a peer's combinations")
    peers.add_argument("--peer", required=True, metavar="DIR")
    tune = jobs.add_parser("tune", help="search for better options")
    tune.add_argument("--what", choices=("tracking", "motion"), required=True)
    tune.add_argument("--trials", type=positive_int, default=200)
    tune.add_argument("--seed", type=natural_int, default=0)
    tune.add_argument("--equal", type=positive_float, help="share of the person's size for all sigmas")
    fit = jobs.add_parser("fit", help="accelerations of the joints")
    for job in (detect, report, peers, tune, fit):
        job.add_argument("--clips", required=True, metavar="DIR", help="a set with videos and labels")
    for job in (report, peers, tune, fit):
        job.add_argument("--detections", required=True, metavar="DIR", help="of the command detect")
    speed = jobs.add_parser("speed", help="time of a frame")
    speed.add_argument("--people", type=positive_int, default=50)
    speed.add_argument("--frames", type=positive_int, default=200)
    demo = jobs.add_parser("demo", help="frames per second of the whole demo and of the model alone")
    demo.add_argument("--video", required=True, metavar="FILE")
    demo.add_argument("--output", required=True, metavar="FILE", help="video that the demo writes")
    demo.add_argument("--rounds", type=positive_int, default=3)
    demo.add_argument("--lag", type=natural_int, default=8)
    for job in (detect, demo):
        job.add_argument("--config-file", default=SYNTHETIC_CONFIG, metavar="FILE")
        job.add_argument("--size", type=positive_int, metavar="PX", help="longest side that the model sees")
        job.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE")
    return parser.parse_args(arguments)


@exits_with_sentence
def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    if args.command == "detect":
        options = [*commands.size_options(args.size), *args.opts]
        commands.detect_clips(args.config_file, options, args.clips, args.output)
    elif args.command == "report":
        commands.report_clips(
            args.clips,
            args.detections,
            args.output,
            COCO,
            peers=dict(args.peer),
            one_euro=args.one_euro,
            equal=args.equal,
            equal_options=args.equal_options,
        )
    elif args.command == "peers":
        commands.choose_peer(args.clips, args.detections, args.peer, COCO)
    elif args.command == "tune":
        commands.tune_options(args.clips, args.detections, args.what, args.trials, args.seed, args.equal, COCO)
    elif args.command == "fit":
        commands.fit_joints(args.clips, args.detections, COCO)
    elif args.command == "demo":
        options = [*commands.size_options(args.size), *args.opts]
        setup_logger(name="rle_onestage", abbrev_name="rle")  # shows the share of each stage
        commands.time_demo(args.config_file, options, args.video, args.output, rounds=args.rounds, lag=args.lag)
    else:
        commands.time_frames(args.people, args.frames, COCO)


if __name__ == "__main__":
    main()
