#!/usr/bin/env python3
"""Make the README's animation: people found in a synthetic video, as an animated WebP.

python datasets/make_synthetic.py --output output/film --train 1 --val 1 --videos 1 --frames 72 --size 448 336 --seed 11
python docs/make_animation.py --config-file output/quickstart/config.yaml --weights output/quickstart/model_final.pth \
    --video output/film/videos/000001.mp4 --output docs/demo.webp
"""

import argparse
import os

from PIL import Image

from rle_onestage import Predictor, load_config
from rle_onestage.errors import exits_with_sentence
from rle_onestage.media import VideoReader
from rle_onestage.predictor import skeleton_for
from rle_onestage.visualization import draw_people


def parse(arguments):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="FILE")
    parser.add_argument("--weights", required=True, metavar="FILE")
    parser.add_argument("--video", required=True, metavar="FILE")
    parser.add_argument("--output", required=True, metavar="FILE", help="ends with .webp")
    parser.add_argument("--step", type=int, default=2, metavar="N", help="take every Nth frame (default 2)")
    parser.add_argument("--threshold", type=float, default=0.2, metavar="S", help="lowest score (default 0.2)")
    return parser.parse_args(arguments)


@exits_with_sentence
def main(arguments=None):
    """Predict, draw, write."""
    args = parse(arguments)
    cfg = load_config(args.config_file)
    predictor, skeleton = Predictor(cfg, args.weights), skeleton_for(cfg)
    pages = []
    with VideoReader(args.video) as video:
        for frame in video:
            if frame.number % args.step == 0:
                drawn = draw_people(
                    frame.image, predictor(frame.image), skeleton, threshold=args.threshold, person_colours=False
                )
                pages.append(Image.fromarray(drawn[:, :, ::-1]))
        milliseconds = round(1000 * args.step / video.fps)
    unfinished = f"{args.output}.part"
    pages[0].save(
        unfinished, "WEBP", save_all=True, append_images=pages[1:], duration=milliseconds, loop=0, quality=70, method=4
    )
    os.replace(unfinished, args.output)
    print(f"{len(pages)} frames, {os.path.getsize(args.output) / 1e6:.2f} MB: {args.output}")


if __name__ == "__main__":
    main()
