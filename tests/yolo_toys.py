"""Small YOLO-pose data sets on disk, written without the package."""

import os

import cv2
import numpy as np
import yaml

COCO_FLIPS = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
CORNERS = {"kpt_shape": [2, 3], "flip_idx": [1, 0], "names": ["box"]}


def write_image(path, width=64, height=64, seed=0):
    """An image of noise."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    cv2.imwrite(str(path), pixels)


def write_yolo_set(root, labels, description=None, split="train", size=(64, 64)):
    """Write ``data.yaml``, and for each text (or bytes; None: no file) an image with it as labels.

    Returns:
        The path of the data.yaml.
    """
    root = str(root)
    for number, text in enumerate(labels):
        write_image(f"{root}/images/{split}/{number:03d}.png", *size, seed=number)
        os.makedirs(f"{root}/labels/{split}", exist_ok=True)
        if text is not None:
            with open(f"{root}/labels/{split}/{number:03d}.txt", "wb") as file:
                file.write(text if isinstance(text, bytes) else text.encode())
    content = {split: f"images/{split}", **(CORNERS if description is None else description)}
    path = f"{root}/data.yaml"
    with open(path, "w") as file:
        yaml.safe_dump(content, file, sort_keys=False)
    return path


def row_of(annotation, width, height):
    """The line of a COCO annotation, with all digits."""
    x, y, w, h = annotation["bbox"]
    values = [0, (x + w / 2) / width, (y + h / 2) / height, w / width, h / height]
    keypoints = annotation["keypoints"]
    for i in range(0, len(keypoints), 3):
        values += [keypoints[i] / width, keypoints[i + 1] / height, keypoints[i + 2]]
    return " ".join(map(repr, values)) + "\n"
