#!/usr/bin/env python3
"""Make the image of the page on other tools: people and their ellipses as supervision draws them.

python docs/make_supervision.py --output docs/supervision.jpg
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import supervision as sv

from rle_onestage import PoseTracker, model_zoo
from rle_onestage.errors import exits_with_sentence
from rle_onestage.interop import supervision_edges, to_supervision, to_supervision_detections
from rle_onestage.utils.images import read_image
from rle_onestage.video.io import VideoReader, write_image

EXAMPLES = Path(__file__).resolve().parents[1] / "datasets" / "examples"
HEIGHT, THRESHOLD, FRAME = 560, 0.28, 30


def enlarged(image):
    """The image at the height of the row, for lines of one thickness."""
    return cv2.resize(image, None, fx=HEIGHT / len(image), fy=HEIGHT / len(image), interpolation=cv2.INTER_CUBIC)


def joints_drawn(image, key_points, skeleton):
    """Ellipses, limbs and joints; the image is changed."""
    ellipses = sv.VertexEllipseAreaAnnotator(sigma=[1, 2], color=[sv.Color.GREEN, sv.Color.YELLOW], opacity=0.4)
    limbs = sv.EdgeAnnotator(color=sv.Color.WHITE, edges=supervision_edges(skeleton))
    for annotator in (ellipses, limbs, sv.VertexAnnotator(radius=3)):
        image = annotator.annotate(image, key_points)
    return image


def photograph(predictor, name):
    """A photograph with its people."""
    image = enlarged(read_image(str(EXAMPLES / name)))
    people = predictor(image)
    return joints_drawn(image, to_supervision(people[people.scores > THRESHOLD]), predictor.skeleton)


def clip(predictor, name):
    """A frame of a clip with identities and traces."""
    tracker = PoseTracker(predictor.skeleton)
    traces = sv.TraceAnnotator(color_lookup=sv.ColorLookup.TRACK)
    labels = sv.LabelAnnotator(color_lookup=sv.ColorLookup.TRACK)
    with VideoReader(str(EXAMPLES / name)) as video:
        for number, frame in enumerate(video):
            image = enlarged(frame.image)
            people = tracker(predictor(image), frame.time)
            boxes = to_supervision_detections(people)
            image = traces.annotate(joints_drawn(image, to_supervision(people), predictor.skeleton), boxes)
            image = labels.annotate(image, boxes, labels=[str(identity) for identity in boxes.tracker_id])
            if number == FRAME:
                break
    return image


@exits_with_sentence
def main():
    """Draw the examples in a row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", required=True, metavar="FILE")
    args = parser.parse_args()
    predictor = model_zoo.get_predictor("people")
    write_image(args.output, np.hstack([photograph(predictor, "skiers.jpg"), clip(predictor, "handover.mp4")]))


if __name__ == "__main__":
    main()
