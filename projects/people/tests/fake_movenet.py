"""A stand-in for movenet.py: the same commands and class, with people at fixed places."""

import json
import sys

import numpy as np


class MoveNet:
    def __init__(self, folder, side, thunder=False, threads=1):
        self.side = side
        print("libraries print to standard output")

    def __call__(self, image):
        if self.side == 13:
            raise ValueError("side 13 is unlucky")
        return np.zeros((2, 17, 3)), np.zeros((2, 4)), np.array([0.5, 0.01])


def main():
    flags = dict(zip(sys.argv[2::2], sys.argv[3::2]))
    with open(flags["--annotations"]) as file:
        data = json.load(file)
    if flags["--side"] == "13":
        sys.exit("side 13 is unlucky")
    results = [
        {"image_id": a["image_id"], "category_id": 1, "keypoints": a["keypoints"], "score": 0.01 * int(flags["--side"])}
        for a in data["annotations"]
    ]
    with open(flags["--output"], "w") as file:
        json.dump(results, file)
    sys.exit("what comes after writing does not matter")


if __name__ == "__main__":
    main()
