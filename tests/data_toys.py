"""Small data sets on disk for the tests of the data room."""

import copy
import json
import os

import cv2
import numpy as np
from detectron2.config import get_cfg

from rle_onestage.config import add_rle_onestage_config
from rle_onestage.structures.skeleton import COCO

LIMBS = [[a + 1, b + 1] for a, b in COCO.limbs]
PERSON = {"id": 1, "name": "person", "keypoints": list(COCO.names), "skeleton": LIMBS}


def make_config(**keys):
    """The default config with keys set, e.g. ``INPUT__POSE__SIZE=64``."""
    cfg = get_cfg()
    add_rle_onestage_config(cfg)
    cfg.MODEL.DEVICE = "cpu"
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.SEED = 1
    cfg.SOLVER.IMS_PER_BATCH = 4
    pairs = [item for key, value in keys.items() for item in (key.replace("__", "."), value)]
    cfg.merge_from_list(pairs)
    return cfg


def person(number, image_id, box=(10, 10, 20, 40), **fields):
    """An annotation whose joints lie in a row through its box."""
    x, y, w, h = box
    keypoints = []
    for k in range(17):
        keypoints += [round(x + w * (k + 0.5) / 17), round(y + h * (k + 0.5) / 17), 2 - k % 2]
    result = {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "bbox": list(box),
        "area": 0.5 * w * h,
        "iscrowd": 0,
        "num_keypoints": 17,
        "keypoints": keypoints,
    }
    return {**result, **fields}


def toy_content(number=6, height=60, width=80):
    """A COCO-format dict: image ``i`` has one person, odd ones are upright."""
    images = [
        {"id": i, "file_name": f"{i:03d}.png", "height": height, "width": width}
        if i % 2 == 0
        else {"id": i, "file_name": f"{i:03d}.png", "height": width, "width": height}
        for i in range(number)
    ]
    return {
        "images": images,
        "annotations": [person(100 + i, i) for i in range(number)],
        "categories": [copy.deepcopy(PERSON)],
    }


def write_set(root, content, images=True):
    """Write ``annotations.json`` and noise images below ``root``; returns (json file, image folder) as strings."""
    folder = os.path.join(root, "images")
    os.makedirs(folder, exist_ok=True)
    for i, image in enumerate(content["images"] if images else ()):
        rng = np.random.default_rng(i)
        pixels = rng.integers(0, 255, (image["height"], image["width"], 3), dtype=np.uint8)
        cv2.imwrite(os.path.join(folder, image["file_name"]), pixels)
    path = os.path.join(root, "annotations.json")
    with open(path, "w") as file:
        json.dump(content, file)
    return path, folder


def toy_config(root, name, content=None, **keys):
    """Write a set and make a config that trains and tests on it."""
    path, folder = write_set(str(root), content or toy_content())
    return make_config(
        DATASETS__KEYPOINT_FILES=[[name, path, folder]],
        DATASETS__TRAIN=(name,),
        DATASETS__TEST=(name,),
        **keys,
    )
