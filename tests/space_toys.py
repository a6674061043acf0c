"""People in space for the tests: cameras, joints, and files of labels."""

import numpy as np

from rle_onestage.structures.root import Camera
from rle_onestage.structures.skeleton import COCO

CAMERA = Camera((120.0, 120.0), (48.0, 40.0))
ENTRY = {"focal": 120.0, "principal_point": [48.0, 40.0]}
SIZE = (80, 96)  # height, width


def standing(seed=0, distance=3500.0):
    """(17, 3) joints of COCO's in millimetres in the camera's axes, a person of about 1.6 m."""
    rng = np.random.default_rng(seed)
    heights = np.array([-700, -740, -740, -720, -720, -500, -500, -250, -250, 0, 0, 20, 20, 420, 420, 800, 800.0])
    sides = np.array([0, 30, -30, 70, -70, 180, -180, 230, -230, 240, -240, 100, -100, 110, -110, 110, -110.0])
    points = np.stack([sides, heights, np.zeros(17)], 1) + rng.normal(0, 60, (17, 3)) * [0.3, 0.3, 3]
    return points + [100, 50, distance]


def annotation(number, image, points, camera=CAMERA, **fields):
    """One of a COCO-format file, its pixels those of the camera."""
    pixels = camera.project(points) - 0.5
    low, high = pixels.min(0) - 2, pixels.max(0) + 2
    keypoints = np.concatenate([pixels, np.full((len(points), 1), 2.0)], 1)
    return {
        "id": number, "image_id": image, "category_id": 1, "iscrowd": 0,
        "bbox": [*low.tolist(), *(high - low).tolist()],
        "area": float((high - low).prod() / 2), "keypoints": keypoints.ravel().tolist(),
        "keypoints_3d": points.tolist(), **fields,
    }  # fmt: skip


def content(people, camera=ENTRY, names=COCO.names):
    """A file with one image for each of some lists of annotations."""
    images = [
        {"id": i, "file_name": f"{i:03d}.png", "height": SIZE[0], "width": SIZE[1],
         **({} if camera is None else {"camera": camera})}
        for i in range(1, len(people) + 1)
    ]  # fmt: skip
    return {
        "images": images, "annotations": [a for group in people for a in group],
        "categories": [{"id": 1, "name": "person", "keypoints": list(names)}],
    }  # fmt: skip
