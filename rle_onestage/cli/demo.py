"""People in images, videos or the camera, with the flags of Detectron2's demo.

rle-onestage demo --input a.jpg folder 'more/*.png' --output out
rle-onestage demo --video-input clip.mp4 --output clip_people.mp4 --track --smooth --json clip.jsonl
rle-onestage demo --config-file C --video-input rtsp://camera/stream --track --json people.jsonl KEY VALUE ...
rle-onestage demo --config-file C --webcam --opts MODEL.WEIGHTS model_final.pth
rle-onestage demo --model people.onnx --video-input clip.mp4 --output clip_people.mp4 --track

exit codes:
  0    all is written; images that cannot be read, damaged frames, and sound that cannot be kept are left out and named
  1    some images could not be written; they are named, and the others and all results are there
  2    nothing could be done, or a video or the results end early; the last line says why, and what to do
  130  interrupted by Ctrl-C (143: by SIGTERM); what was written until then is complete
"""

import argparse
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rle_onestage.cli.checks import check_config, check_given, check_images, check_output
from rle_onestage.cli.exported import add_exported, check_exported, load_exported, settle_model
from rle_onestage.cli.options import add_config_file, add_options, add_precision, parse_options, read_config, start
from rle_onestage.errors import ConfigError, MediaError, check_score, exits_with_sentence
from rle_onestage.utils.arguments import CommandParser, natural_int, number, positive_float, positive_int
from rle_onestage.utils.output_files import is_stdout
from rle_onestage.utils.packaged_files import DRAWN_SCORE

if TYPE_CHECKING:
    from rle_onestage.demo import DemoOptions
    from rle_onestage.export import ExportedPredictor
    from rle_onestage.predictor import Predictor
    from rle_onestage.structures.skeleton import Skeleton
    from rle_onestage.video.tracking import PoseTracker, TrackerOptions

CONFIG = "demo.yaml"
# A third of a second: what a filter gains from later frames is in them.
FILE_LAG = 8


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = CommandParser("demo", __doc__)
    add_config_file(parser, default=CONFIG)
    add_exported(parser)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--input", nargs="+", metavar="PATH", help="image files, folders, or globs in quotes")
    source.add_argument(
        "--video-input", metavar="V", help="a video file, a folder of frames, or an address (rtsp://, http://, udp://)"
    )
    source.add_argument("--webcam", nargs="?", type=natural_int, const=0, metavar="N", help="the camera (of number N)")
    parser.add_argument("--output", metavar="PATH", help="folder or file to write; without it a window is opened")
    parser.add_argument(
        "--json", metavar="FILE",
        help="write what was found as COCO results, with each joint's sigmas, and beside it the names of the joints; "
        "of a video, one JSON line a person",
    )  # fmt: skip
    _add_tracking(parser)
    parser.add_argument(
        "--confidence-threshold", type=number, metavar="S",
        help="lowest score (default: 0.28); with --track and --smooth of those who are newly tracked (default: 0.5)",
    )  # fmt: skip
    parser.add_argument("--draw-sigma", action="store_true", help="draw ellipses of one and two standard deviations")
    parser.add_argument(
        "--draw-3d", action="store_true",
        help="of --input: draw each image beside two views of its people in space, of models with depth",
    )  # fmt: skip
    parser.add_argument("--draw-boxes", action="store_true", help="draw the boxes")
    parser.add_argument(
        "--hidden", choices=("show", "hollow", "omit"),
        help="what is drawn of hidden joints, where the model tells them from visible ones (default: hollow)",
    )  # fmt: skip
    parser.add_argument(
        "--batch", type=positive_int, default=1, metavar="N", help="frames that the model gets at once (default: 1)"
    )
    parser.add_argument(
        "--fps", type=positive_float, metavar="F", help="frames per second of a folder of frames (default: 25)"
    )
    parser.add_argument(
        "--reconnect", type=natural_int, default=5, metavar="N",
        help="tries in a row to connect a camera or stream that breaks off (default: 5; 0: none)",
    )  # fmt: skip
    add_precision(parser)
    add_options(parser)
    return parse_options(parser, arguments)


def _add_tracking(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--track", action="store_true", help="track people through a video: identities and trails")
    parser.add_argument(
        "--smooth", action="store_true",
        help="as --track, and joints do not jitter, people are predicted while they are hidden",
    )  # fmt: skip
    parser.add_argument(
        "--lag", type=natural_int, metavar="N",
        help="frames that --smooth may wait for (default: 8 for files and folders of frames, 0 for live video)",
    )  # fmt: skip
    parser.add_argument("--legend", action="store_true", help="explain colours and marks in a corner of the video")


def options_from(args: argparse.Namespace) -> "DemoOptions":
    """The command line as :class:`~rle_onestage.demo.options.DemoOptions`, with COCO's joints as yet."""
    from rle_onestage.demo import DemoOptions
    from rle_onestage.structures import COCO

    return DemoOptions(
        skeleton=COCO,
        output=args.output,
        json=args.json,
        threshold=DRAWN_SCORE if args.confidence_threshold is None else args.confidence_threshold,
        draw_sigma=args.draw_sigma,
        draw_boxes=args.draw_boxes,
        draw_3d=args.draw_3d,
        batch=args.batch,
        fps=args.fps,
        reconnect=args.reconnect,
        legend=args.legend,
        hidden=args.hidden or "hollow",
    )


def check_video_flags(args: argparse.Namespace) -> None:
    """Whether the flags of tracking have something to do.

    Raises:
        ConfigError: one has not.
    """
    flags = ("track", "smooth", "lag", "legend", "fps")
    given = [flag for flag in flags if getattr(args, flag) is not None and getattr(args, flag) is not False]
    if args.input and given:
        raise ConfigError(
            f"--{given[0]} is for videos, and --input takes single images; leave it out, or give the video, or a "
            "folder of its frames, by --video-input"
        )
    if args.draw_3d and not args.input:
        raise ConfigError("--draw-3d is for images; give them by --input, or leave it out")
    if args.lag is not None and not args.smooth:
        raise ConfigError(f"--lag {args.lag} needs --smooth")


def predictor_from(args: argparse.Namespace) -> "Predictor | ExportedPredictor":
    """What finds the people: the file of ``--model``, else a config and its weights."""
    if args.model is not None:
        return load_exported(args, several=not (args.input or is_live(args)))
    from rle_onestage.predictor import Predictor

    return Predictor(read_config(args, packaged=CONFIG, task="inference"), precision=args.precision)


def is_live(args: argparse.Namespace) -> bool:
    """Whether the video is a camera or a stream."""
    from rle_onestage.video.io import is_address

    return args.video_input is None or is_address(args.video_input)


def check_hidden(args: argparse.Namespace, predictor: "Predictor | ExportedPredictor") -> None:
    """Whether the model can say what ``--hidden`` is about.

    Raises:
        ConfigError: it cannot.
    """
    if args.hidden and not predictor.tells_hidden:
        raise ConfigError(
            f"--hidden {args.hidden} needs a model that tells hidden joints from visible ones, which these weights do "
            "not (MODEL.RLE_ONESTAGE.HEAD.VISIBILITY); leave it out"
        )


def check_depth(args: argparse.Namespace, predictor: "Predictor | ExportedPredictor") -> None:
    """Whether the model can say what ``--draw-3d`` draws.

    Raises:
        ConfigError: it cannot.
    """
    if args.draw_3d and not predictor.tells_depth:
        raise ConfigError(
            "--draw-3d needs a config and weights that were trained with depth, which these were not "
            "(MODEL.RLE_ONESTAGE.DEPTH.ENABLED); leave it out"
        )


def tracker_from(args: argparse.Namespace, skeleton: "Skeleton") -> "PoseTracker | None":
    """What tracks people, None without ``--track`` and ``--smooth``."""
    from rle_onestage.video.tracking import PoseTracker, TrackerOptions

    if not (args.track or args.smooth):
        return None
    lag = args.lag if args.lag is not None else 0 if is_live(args) or not args.smooth else FILE_LAG
    options = TrackerOptions() if args.confidence_threshold is None else started_at(args.confidence_threshold)
    return PoseTracker(skeleton, smooth=args.smooth, lag=lag, options=options)


def started_at(score: float) -> "TrackerOptions":
    """The tracker's options with another lowest score for those who are newly tracked."""
    from rle_onestage.video.tracking import TrackerOptions

    usual = TrackerOptions()
    return replace(usual, birth=score, high=min(usual.high, score), low=min(usual.low, score))


def check_paths(args: argparse.Namespace) -> list[str]:
    """Look for what is read, and whether results can be written; nothing is made yet.

    Returns:
        The image files of ``--input``.

    Raises:
        MediaError: an input is missing, ``--input`` has only videos, or an output cannot be written.
    """
    from rle_onestage.demo.options import video_path
    from rle_onestage.video.io import (
        READ_TYPES,
        check_source,
        check_window,
        find_images,
        looks_like_video,
        output_paths,
    )

    images = find_images(args.input or ())
    if images and all(looks_like_video(path) and not path.lower().endswith(READ_TYPES) for path in images):
        raise MediaError(f"input {images[0]} is named like a video; give it with --video-input")
    source = args.webcam if args.video_input is None else args.video_input
    if args.video_input is not None:
        check_source(args.video_input)
    if args.output and args.input:
        output_paths(images, args.output)
    elif args.output:
        video_path(source, args.output)
    elif args.output is None and args.json is None:
        check_window()
    return images


@exits_with_sentence
def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit code."""
    args = parse(arguments)
    if args.confidence_threshold is not None:
        check_score(args.confidence_threshold, "--confidence-threshold")
    check_video_flags(args)
    check_images(args.input or ())
    check_given(args.output, "--output")
    check_output(args.json, "--json")
    settle_model(args)
    check_exported(args)
    check_config(args.config_file, args.opts)
    # Results that go to stdout are not mixed with the log.
    with contextlib.redirect_stdout(sys.stderr) if args.json and is_stdout(args.json) else contextlib.nullcontext():
        start()
    from rle_onestage.demo import run_images, run_video
    from rle_onestage.evaluation.joint_factors import density_of

    # All that can be wrong, before the seconds that the model takes to load.
    images = check_paths(args)
    options, predictor = options_from(args), predictor_from(args)
    check_hidden(args, predictor)
    check_depth(args, predictor)
    options = replace(options, skeleton=predictor.skeleton, category_id=predictor.category.id)
    if args.json and not args.smooth:  # a filter's sigmas are its own
        options = replace(options, density=density_of(predictor))
    if args.input:
        return run_images(predictor, images, options)
    source = args.webcam if args.video_input is None else args.video_input
    return run_video(predictor, source, options, tracker_from(args, options.skeleton))
