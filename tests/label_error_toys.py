"""People whose labels are wrong in known ways, for the tests of label errors."""

import numpy as np

from rle_onestage.evaluation import GroundTruth
from rle_onestage.label_errors import compare, match_cases, weigh
from rle_onestage.label_errors.mistakes import explain
from rle_onestage.modeling.density import build_density
from rle_onestage.modeling.postprocessing import Decoder
from rle_onestage.structures.error_density import ErrorDensity
from rle_onestage.structures.skeleton import COCO

HEIGHT, WIDTH = 240, 200
# Somebody who faces the camera, in pixels: COCO's joints.
POSE = np.array([
    [100, 40], [104, 36], [96, 36], [110, 40], [90, 40], [122, 70], [78, 70], [136, 104], [64, 104], [142, 138],
    [58, 138], [114, 140], [86, 140], [117, 182], [83, 182], [119, 222], [81, 222],
], dtype=float)  # fmt: skip
SIGMA = 3.0


def density() -> ErrorDensity:
    """Of a model with a Laplace density."""
    return decoder().error_density()


def decoder():
    out = Decoder(
        oks_sigmas=list(COCO.oks_sigmas), group=[0] * 17, topk=10, pre_nms_topk=0, score_thresh=0.0, max_people=10,
        box_nms=1.0, oks_nms=1.0, use_peaks=False, score_power=1.0, quality_power=0.0, oks_power=1.0,
    )  # fmt: skip
    out.set_density(build_density("laplace"))
    return out


def result_of(image_id, points, *, score=0.9, sigma=SIGMA, presence=0.95):
    low, high = points.min(0) - 5, points.max(0) + 5
    return {
        "image_id": image_id, "category_id": 1, "bbox": [*low, *(high - low)], "score": score,
        "keypoints": np.concatenate([points, np.full((17, 1), 0.9)], 1).ravel().tolist(),
        "keypoint_sigmas": [sigma] * 34, "keypoint_presence": np.broadcast_to(presence, 17).tolist(),
    }  # fmt: skip


def annotation_of(image_id, points, visibility=None):
    low, high = points.min(0) - 5, points.max(0) + 5
    keypoints = np.concatenate([points, np.full((17, 1), 2.0) if visibility is None else visibility[:, None]], 1)
    return {
        "id": image_id, "image_id": image_id, "category_id": 1, "iscrowd": 0, "bbox": [*low, *(high - low)],
        "area": 12000.0, "keypoints": keypoints.ravel().tolist(),
    }  # fmt: skip


def truth_of(annotations):
    images = [
        {"id": a["image_id"], "file_name": f"{a['image_id']}.png", "height": HEIGHT, "width": WIDTH}
        for a in annotations
    ]
    category = {"id": 1, "name": "person", "keypoints": list(COCO.names)}
    return GroundTruth(dataset={"images": images, "annotations": annotations, "categories": [category]}, num_joints=17)


def case_of(labels, *, visibility=None, others=(), **prediction):
    """The case of one person, seen right, whose labels are these."""
    results = [result_of(1, POSE, **prediction), *(result_of(1, points, score=0.5) for points in others)]
    (case,) = match_cases(truth_of([annotation_of(1, labels, visibility)]), [results])
    return case


def explained(case, skeleton=COCO):
    ratios = compare(case, density(), skeleton.oks_sigmas, skeleton.flip_index)
    return explain(case, weigh(ratios, np.full(skeleton.num_joints, 0.05)), skeleton)


def swapped(points, *parts):
    out = points.copy()
    for left, right in COCO.flip_pairs:
        if COCO.names[left].removeprefix("left_") in parts:
            out[[left, right]] = out[[right, left]]
    return out


LEGS, ARMS = ("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist")


def image_file(number=0):
    image = np.random.default_rng(number).integers(60, 120, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    image[:4, :4], image[:4, -4:] = 255, 0
    return image
