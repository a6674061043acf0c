#!/usr/bin/env python3
r"""Make the images of the documentation: people tracked through clips, and people on photographs.

python docs/make_animation.py --video datasets/examples/handover.mp4 --output docs/demo.webp
python docs/make_animation.py --image datasets/examples/*.jpg --output docs/people.jpg
python docs/make_animation.py --config-file configs/demo_synthetic.yaml \
    --video output/clips/test/videos/00000[1-6].mp4 --output docs/video.jpg
"""

import argparse
import os

import cv2
import numpy as np
from PIL import Image

from rle_onestage import PosePredictor, PoseTracker, load_config
from rle_onestage.errors import exits_with_sentence
from rle_onestage.utils.images import read_image
from rle_onestage.video.io import VideoReader, write_image
from rle_onestage.visualization import VideoDrawer, contact_sheet, draw_people


def parse(arguments):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", default="configs/demo.yaml", metavar="FILE")
    parser.add_argument("--size", type=int, default=640, metavar="PX", help="longest side that the model sees")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--video", nargs="+", metavar="FILE")
    source.add_argument("--image", nargs="+", metavar="FILE", help="photographs, for a row of them")
    parser.add_argument("--output", required=True, metavar="FILE", help=".webp: the first video; else a page of all")
    parser.add_argument("--step", type=int, default=2, metavar="N", help="take every Nth frame (default 2)")
    parser.add_argument("--at", type=int, nargs="+", default=[60, 130], metavar="N", help="frames for the page")
    parser.add_argument("--lag", type=int, default=8, metavar="N", help="frames that the smoother waits (default 8)")
    return parser.parse_args(arguments)


def drawn_frames(predictor, path, lag, factor=1):
    """Yield every frame of a video with its people, BGR, ``factor`` times as large."""
    tracker, waiting = PoseTracker(predictor.skeleton, lag=lag), []
    drawer = VideoDrawer(predictor.skeleton, draw_sigma=True)
    with VideoReader(path) as video:
        for frame in video:
            waiting.append(frame)
            for people in tracker.push(predictor(frame.image), frame.time):
                yield drawn(drawer, waiting.pop(0), people, factor)
    for people in tracker.finish():
        yield drawn(drawer, waiting.pop(0), people, factor)


def drawn(drawer, frame, people, factor):
    """One frame with its people, ``factor`` times as large."""
    people.pred_keypoints[..., :2] *= factor
    people.pred_keypoint_sigmas *= factor
    people.pred_keypoint_covariances *= factor**2
    people.pred_boxes.scale(factor, factor)
    image = cv2.resize(frame.image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    return drawer(image, people, frame.time)


def row_of_photographs(predictor, paths, height=400):
    """Photographs with their people, side by side at one height; drawn at that size, for lines of one thickness."""
    row = []
    for path in paths:
        image = read_image(path)
        scale = height / len(image)
        people = predictor(image)
        drawn_people = draw_people(
            image, people, predictor.skeleton, threshold=0.28, draw_sigma=True, labels=False, scale=scale
        )
        row.append(drawn_people[:height])
    return np.hstack(row)


def write_animation(pages, path, milliseconds):
    """Write BGR images as a WebP that repeats."""
    pages = [Image.fromarray(page[:, :, ::-1]) for page in pages]
    unfinished = f"{path}.part"
    pages[0].save(
        unfinished, "WEBP", save_all=True, append_images=pages[1:], duration=milliseconds, loop=0, quality=70, method=4
    )
    os.replace(unfinished, path)
    print(f"{len(pages)} frames, {os.path.getsize(path) / 1e6:.2f} MB: {path}")


@exits_with_sentence
def main(arguments=None):
    """Predict, track, draw, write."""
    args = parse(arguments)
    predictor = PosePredictor(
        load_config(args.config_file, ["INPUT.MIN_SIZE_TEST", args.size, "INPUT.MAX_SIZE_TEST", args.size])
    )
    if args.image:
        write_image(args.output, row_of_photographs(predictor, args.image))
        return
    if args.output.endswith(".webp"):
        with VideoReader(args.video[0]) as video:
            milliseconds = round(1000 * args.step / video.fps)
        pages = list(drawn_frames(predictor, args.video[0], args.lag))[:: args.step]
        write_animation(pages, args.output, milliseconds)
        return
    tiles = []
    for path in args.video:
        pages = enumerate(drawn_frames(predictor, path, args.lag, factor=2))
        tiles += [page for number, page in pages if number in args.at]
    write_image(args.output, contact_sheet(tiles, 4, tile=(480, 360)))


if __name__ == "__main__":
    main()
