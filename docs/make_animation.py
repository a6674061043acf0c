#!/usr/bin/env python3
r"""Make the README's animation: people followed through a synthetic video, as an animated WebP.

python datasets/make_synthetic.py --preset clips --videos 1 --frames 120 --people 4 4 --size 640 448 \
    --seed 11 --output output/film
python docs/make_animation.py --video output/film/videos/000001.mp4 --output docs/demo.webp
"""

import argparse
import os

from PIL import Image

from rle_onestage import PosePredictor, PoseTracker, load_config
from rle_onestage.errors import exits_with_sentence
from rle_onestage.media import VideoReader
from rle_onestage.video_benchmark.commands import size_options
from rle_onestage.visualization import VideoDrawer


def parse(arguments):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", default="configs/demo.yaml", metavar="FILE")
    parser.add_argument("--size", type=int, default=640, metavar="PX", help="longest side that the model sees")
    parser.add_argument("--video", required=True, metavar="FILE")
    parser.add_argument("--output", required=True, metavar="FILE", help="ends with .webp")
    parser.add_argument("--step", type=int, default=2, metavar="N", help="take every Nth frame (default 2)")
    parser.add_argument("--lag", type=int, default=8, metavar="N", help="frames that the smoother waits (default 8)")
    return parser.parse_args(arguments)


def drawn_frames(args):
    """Yield every frame of the video with its people, BGR, and then nothing more."""
    predictor = PosePredictor(load_config(args.config_file, size_options(args.size)))
    tracker = PoseTracker(predictor.skeleton, lag=args.lag)
    drawer, waiting = VideoDrawer(predictor.skeleton, draw_sigma=True), []
    with VideoReader(args.video) as video:
        for frame in video:
            waiting.append(frame)
            for people in tracker.push(predictor(frame.image), frame.time):
                ready = waiting.pop(0)
                yield drawer(ready.image, people, ready.time)
    for frame, people in zip(waiting, tracker.finish()):
        yield drawer(frame.image, people, frame.time)


@exits_with_sentence
def main(arguments=None):
    """Predict, follow, draw, write."""
    args = parse(arguments)
    with VideoReader(args.video) as video:
        milliseconds = round(1000 * args.step / video.fps)
    pages = [Image.fromarray(drawn[:, :, ::-1]) for drawn in drawn_frames(args)][:: args.step]
    unfinished = f"{args.output}.part"
    pages[0].save(
        unfinished, "WEBP", save_all=True, append_images=pages[1:], duration=milliseconds, loop=0, quality=70, method=4
    )
    os.replace(unfinished, args.output)
    print(f"{len(pages)} frames, {os.path.getsize(args.output) / 1e6:.2f} MB: {args.output}")


if __name__ == "__main__":
    main()
