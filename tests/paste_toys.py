"""A photograph of one person whose joints can be seen as coloured dots."""

import numpy as np

NOSE, LEFT, RIGHT = 0, 9, 10
COLOURS = {NOSE: (0, 255, 0), LEFT: (255, 0, 0), RIGHT: (0, 0, 255)}
POINTS = {NOSE: (60.5, 42.5), LEFT: (46.5, 70.5), RIGHT: (74.5, 100.5)}
SEGMENT = [40.0, 30.0, 80.0, 30.0, 80.0, 130.0, 40.0, 130.0]


def photograph():
    """A grey person on white, with a dot of its own colour at each of three joints."""
    image = np.full((160, 120, 3), 255, np.uint8)
    image[30:130, 40:80] = 90
    for joint, (x, y) in POINTS.items():
        image[int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4] = COLOURS[joint]
    return image


def keypoints_of(points, flag=2):
    joints = np.zeros((17, 3))
    for joint, (x, y) in points.items():
        joints[joint] = x, y, flag
    return joints
