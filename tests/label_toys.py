"""What stands for a predictor that knows who is in each image, and images that it can tell apart."""

import cv2
import numpy as np
import torch
from detectron2.structures import Boxes, Instances
from ground_truth_outputs import make_decoder

from rle_onestage.modeling.density import build_density
from rle_onestage.structures.covariance import covariance_of
from rle_onestage.structures.skeleton import COCO

HEIGHT, WIDTH = 240, 320
# Somebody who faces the camera, COCO's joints, in a box of 100 x 200.
POSE = np.array([
    [50, 15], [54, 11], [46, 11], [60, 15], [40, 15], [72, 45], [28, 45], [86, 79], [14, 79], [92, 113],
    [8, 113], [64, 115], [36, 115], [67, 157], [33, 157], [69, 195], [31, 195],
], dtype=float)  # fmt: skip


def at(x, y):
    """The pose with its box's corner at a place."""
    return POSE + [x, y]


def image_of(number):
    """An image of one colour that tells its number; the left border is white, so that a mirror image is known."""
    image = np.full((HEIGHT, WIDTH, 3), 5 * number, np.uint8)
    image[:, : WIDTH // 8] = 255
    return image


def write_images(folder, numbers):
    """Write images as lossless files named by their number; gives their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number}.png" for number in numbers]
    for number, path in zip(numbers, paths):
        cv2.imwrite(str(path), image_of(number))
    return [str(path) for path in paths]


def person(joints, *, sigma=1.0, presence=1.0, score=0.9, box=None, area=None, correlation=0.0):
    """One detection: joints (K, 2) from the corner of the first pixel, and what is said of them."""
    joints = np.asarray(joints, dtype=float)
    low, high = joints.min(0) - 5, joints.max(0) + 5
    box = np.concatenate([low, high]) if box is None else np.asarray(box, dtype=float)
    return {
        "joints": joints, "sigmas": np.broadcast_to(sigma, joints.shape).astype(float), "score": score, "box": box,
        "presence": np.broadcast_to(presence, len(joints)).astype(float),
        "area": float(0.5 * (box[2:] - box[:2]).prod()) if area is None else area,
        "correlations": np.broadcast_to(correlation, len(joints)).astype(float),
    }  # fmt: skip


class Knows:
    """Finds the people of the image's number, also in the mirror, at any size, in the pixels of the given image.

    Args:
        people: number of an image -> detections of :func:`person`; or a function of (number, longest side, mirrored).
    """

    def __init__(self, people, skeleton=COCO):
        self.people = people if callable(people) else lambda number, size, mirrored: people[number]
        self.skeleton, self.resize, self.seen = skeleton, None, []
        decoder = make_decoder("fcos", list(skeleton.oks_sigmas))
        decoder.set_density(build_density("laplace"))
        self.error_density = decoder.error_density()

    def __call__(self, image):
        return self.batch([image])[0]

    def batch(self, images):
        return [self._find(image) for image in images]

    def _find(self, image):
        size = max(self.resize(image).shape[:2])
        mirrored = image[0, 0, 0] != 255
        number = round(image[0, image.shape[1] // 2, 0] / 5)
        self.seen.append((number, size, bool(mirrored)))
        height, width = image.shape[:2]
        found = sorted(self.people(number, size, mirrored), key=lambda p: -p["score"])
        if mirrored:
            found = [self._mirrored(p, width) for p in found]
        joints = self._stack(found, "joints", (self.skeleton.num_joints, 2))
        out = Instances((height, width))
        out.pred_boxes = Boxes(self._stack(found, "box", (4,)))
        out.scores = self._stack(found, "score", ())
        out.pred_keypoints = torch.cat([joints, torch.ones_like(joints[..., :1])], -1)
        out.pred_keypoint_sigmas = self._stack(found, "sigmas", (self.skeleton.num_joints, 2))
        correlations = self._stack(found, "correlations", (self.skeleton.num_joints,))
        out.pred_keypoint_covariances = covariance_of(out.pred_keypoint_sigmas, correlations)
        out.pred_keypoint_presence = self._stack(found, "presence", (self.skeleton.num_joints,))
        out.pred_areas = self._stack(found, "area", ())
        return out

    def _mirrored(self, found, width):
        flip = self.skeleton.flip_index
        x0, y0, x1, y1 = found["box"]
        joints = found["joints"][flip] * [-1, 1] + [width, 0]
        return {
            **found, "box": np.array([width - x1, y0, width - x0, y1]), "joints": joints,
            "sigmas": found["sigmas"][flip], "presence": found["presence"][flip],
            "correlations": -found["correlations"][flip],
        }  # fmt: skip

    @staticmethod
    def _stack(found, key, shape):
        return torch.tensor(np.array([p[key] for p in found], dtype=np.float32).reshape(-1, *shape))
