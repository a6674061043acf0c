"""Labels from the rendering: visibility of joints by the z-buffer, masks, boxes, areas, in COCO's format.

Visibility: 0 where a joint is outside of the picture; 1 (hidden) where the surface at its pixel is nearer than the joint by more than the
body is thick there, or belongs to somebody or something else in front of it; 2 (visible) otherwise. ``TOLERANCE`` is that thickness from the joint to
the skin in fractions of the height: eyes, ears and nose lie on the surface, hips deep below it.
"""

import numpy as np
from pycocotools import mask as coco_mask

from . import body

VISIBLE, HIDDEN, OUTSIDE = 2, 1, 0
MIN_VISIBLE_SHARE = 0.05
MIN_VISIBLE_PIXELS = 12e-4  # of the picture
_EXTRA = 0.012  # cloth and samples at grazing angles
TOLERANCE = _EXTRA + np.array(
    [0.006, 0.008, 0.008, 0.012, 0.012, 0.036, 0.036, 0.027, 0.027, 0.019, 0.019, 0.088, 0.088, 0.037, 0.037, 0.026, 0.026]
)


def joint_visibility(depth, owner, pixels, joint_depth, person, height, width, scale, tolerance):
    """COCO visibility (K,) of one person's joints.

    ``depth`` and ``owner`` are maps at ``scale`` samples per pixel, ``pixels`` (K, 2) in pixels of the picture, ``joint_depth`` (K,)
    and ``tolerance`` (K,) in metres.
    """
    inside = (pixels[:, 0] >= 0) & (pixels[:, 0] < width) & (pixels[:, 1] >= 0) & (pixels[:, 1] < height) & (joint_depth > 0)
    columns = np.clip((pixels[:, 0] * scale).astype(int), 0, width * scale - 1)
    rows = np.clip((pixels[:, 1] * scale).astype(int), 0, height * scale - 1)
    surface, seen = depth[rows, columns], owner[rows, columns]
    own = seen == person
    in_front = joint_depth - surface
    hidden = np.where(own, in_front > tolerance, (in_front > 0) & (seen >= 0))
    return np.where(inside, np.where(hidden, HIDDEN, VISIBLE), OUTSIDE)


def person_annotation(*, frame, owner, camera, posed, person, cover):
    """One annotation (without ids) or None, if less than ``MIN_VISIBLE_SHARE`` of what lies in the picture can be seen,
    less than ``MIN_VISIBLE_PIXELS`` of the picture, or no joint is in the picture."""
    width, height, scale = camera.width, camera.height, frame.scale
    seen = owner == person
    whole = int(cover.sum())
    counts = seen.reshape(height, scale, width, scale).sum((1, 3)) if scale > 1 else seen
    mask = counts * 2 >= scale * scale if scale > 1 else counts
    area = int(mask.sum())
    if whole == 0 or seen.sum() < MIN_VISIBLE_SHARE * whole or area < MIN_VISIBLE_PIXELS * width * height:
        return None
    pixels, depth = camera.project(posed.joints)
    tolerance = TOLERANCE * posed.shape.height * max(posed.shape.girth, 1.0)
    flags = joint_visibility(frame.depth, owner, pixels, depth, person, height, width, scale, tolerance)
    if not (flags > 0).any():
        return None
    # The file's convention is COCO's, which Detectron2 expects: 0 is the middle of the first pixel.
    keypoints = np.concatenate([np.clip(np.round(pixels - 0.5, 2), 0, (width - 1, height - 1)), flags[:, None]], 1)
    keypoints[flags == OUTSIDE] = 0
    encoded = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [float(v) for v in coco_mask.toBbox(encoded)],
        "area": float(area),
        "segmentation": {"size": [height, width], "counts": encoded["counts"].decode("ascii")},
        "num_keypoints": int((flags > 0).sum()),
        "keypoints": [round(float(v), 2) if k % 3 < 2 else int(v) for k, v in enumerate(keypoints.ravel())],
        "keypoints_depth": [round(float(d), 4) for d in depth],
        "visible_share": round(float(seen.sum() / whole), 4),
    }


def category():
    """COCO's person category."""
    return {
        "supercategory": "person", "id": 1, "name": "person", "keypoints": list(body.JOINTS),
        "skeleton": [[a + 1, b + 1] for a, b in body.LIMBS],
    }  # fmt: skip
