"""Made-up labelled sets and results, with what makes COCO's matching hard."""

import json

import numpy as np
from people_study.labels import read_set

from rle_onestage.evaluation.metrics import random_case
from rle_onestage.structures.skeleton import COCO

JOINTS = list(COCO.names)


def write_set(folder, name, *, seed=0, images=12):
    """A random set in a file, and results for it.

    Returns:
        (path of the annotations, list of results).
    """
    dataset, results = random_case(seed=seed, num_images=images, num_joints=len(JOINTS))
    dataset["categories"] = [{"id": 1, "name": "person", "keypoints": JOINTS}]
    path = folder / f"{name}.json"
    path.write_text(json.dumps(dataset))
    return str(path), results


def random_set(folder, *, seed=0, images=12):
    """A random set, read, and results for it."""
    path, results = write_set(folder, f"set{seed}", seed=seed, images=images)
    return read_set(f"set{seed}", path), results


def without_ties(results, seed=0):
    """The same results with scores that are all different."""
    scores = np.random.default_rng(seed).permutation(len(results)) / len(results)
    return [{**r, "score": float(s)} for r, s in zip(results, scores)]


def row_of_people(offsets, *, size=100.0):
    """One image of labelled people side by side.

    Args:
        offsets: how far each person's detection is from its label, as a share of the person's side; None: no
            detection.
        size: side of each person's box, pixels; its area is the whole box's.

    Returns:
        (dataset, results of descending scores 0.9, 0.8, ...).
    """
    grid = np.stack([np.linspace(0.1, 0.9, len(JOINTS)), np.linspace(0.9, 0.1, len(JOINTS))], 1) * size
    annotations, results = [], []
    for number, offset in enumerate(offsets):
        joints = grid + [number * 2 * size, 0]
        flat = np.column_stack([joints, np.full(len(JOINTS), 2)])
        annotations.append({
            "id": number + 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "num_keypoints": len(JOINTS),
            "bbox": [number * 2 * size, 0, size, size], "area": size**2, "keypoints": flat.ravel().tolist(),
        })  # fmt: skip
        if offset is not None:
            moved = np.column_stack([joints + [offset * size, 0], np.ones(len(JOINTS))])
            results.append({
                "image_id": 1, "category_id": 1, "score": 0.9 - 0.1 * number, "keypoints": moved.ravel().tolist(),
                "bbox": [number * 2 * size, 0, size, size],
            })  # fmt: skip
    image = {"id": 1, "file_name": "row.png", "width": int(2 * size * len(offsets)), "height": int(size)}
    categories = [{"id": 1, "name": "person", "keypoints": JOINTS}]
    return {"images": [image], "annotations": annotations, "categories": categories}, results
