"""Labels from the rendering: visibility of joints by the z-buffer, masks, boxes, areas, in COCO's format.

Visibility: 0 where a joint is outside of the image; 1 (hidden) where the surface at its pixel is nearer than the
joint by more than the body is thick there, or belongs to somebody or something else in front of it; 2 (visible)
otherwise. ``TOLERANCE`` is that thickness from the joint to the skin in fractions of the height: eyes, ears and nose
lie on the surface, hips deep below it.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools import mask as coco_mask

from . import body

if TYPE_CHECKING:
    from synthetic_people.body import Posed
    from synthetic_people.camera import Camera
    from synthetic_people.raster import Cover, Frame


VISIBLE, HIDDEN, OUTSIDE = 2, 1, 0
MIN_VISIBLE_SHARE = 0.05
MIN_VISIBLE_PIXELS = 12e-4  # of the image
_EXTRA = 0.012  # cloth and samples at grazing angles
TOLERANCE = _EXTRA + np.array(
    [
        0.006,
        0.008,
        0.008,
        0.012,
        0.012,
        0.036,
        0.036,
        0.027,
        0.027,
        0.019,
        0.019,
        0.088,
        0.088,
        0.037,
        0.037,
        0.026,
        0.026,
    ]
)


def joint_visibility(
    depth: np.ndarray,
    owner: np.ndarray,
    pixels: np.ndarray,
    joint_depth: np.ndarray,
    person: int,
    width: int,
    height: int,
    tolerance: np.ndarray,
) -> np.ndarray:
    """COCO visibility (K,) of one person's joints.

    ``depth`` (K,) and ``owner`` (K,) are of the surface at the joints' ``pixels`` (K, 2), ``joint_depth`` (K,) and
    ``tolerance`` (K,) in metres.
    """
    inside = (
        (pixels[:, 0] >= 0) & (pixels[:, 0] < width) & (pixels[:, 1] >= 0) & (pixels[:, 1] < height) & (joint_depth > 0)
    )
    in_front = joint_depth - depth
    hidden = np.where(owner == person, in_front > tolerance, (in_front > 0) & (owner >= 0))
    return np.where(inside, np.where(hidden, HIDDEN, VISIBLE), OUTSIDE)


def visible_mask(frame: "Frame", cover: "Cover", width: int, height: int) -> tuple[np.ndarray, int, int]:
    """(mask (H, W) uint8 of the image, visible samples, samples if nothing else were there)."""
    scale = frame.scale
    x0, y0 = cover.box[0] // scale, cover.box[1] // scale
    x1, y1 = -(-cover.box[2] // scale), -(-cover.box[3] // scale)
    rows, columns = slice(y0 * scale, y1 * scale), slice(x0 * scale, x1 * scale)
    index = frame.index[rows, columns]
    seen = ((index >= cover.numbers[0]) & (index < cover.numbers[1])).view(np.uint8)
    counts = sum(seen[i::scale, j::scale] for i in range(scale) for j in range(scale)) if seen.size else seen
    mask = np.zeros((height, width), np.uint8, order="F")
    mask[y0:y1, x0:x1] = counts * 2 >= scale * scale
    return mask, int(np.count_nonzero(seen)), int(np.count_nonzero(cover.mask[rows, columns]))


def person_annotation(
    *, frame: "Frame", camera: "Camera", posed: "Posed", person: int, cover: "Cover"
) -> dict[str, Any] | None:
    """One annotation (without ids) or None, if less than ``MIN_VISIBLE_SHARE`` of what lies in the image can be seen,
    less than ``MIN_VISIBLE_PIXELS`` of the image, or no joint is in the image."""
    width, height = camera.width, camera.height
    mask, seen, whole = visible_mask(frame, cover, width, height)
    area = np.count_nonzero(mask)
    if whole == 0 or seen < MIN_VISIBLE_SHARE * whole or area < MIN_VISIBLE_PIXELS * width * height:
        return None
    pixels, depth = camera.project(posed.joints)
    columns = np.clip((pixels[:, 0] * frame.scale).astype(int), 0, width * frame.scale - 1)
    rows = np.clip((pixels[:, 1] * frame.scale).astype(int), 0, height * frame.scale - 1)
    tolerance = TOLERANCE * posed.shape.height * max(posed.shape.girth, 1.0)
    owner = frame.owner_of(frame.index[rows, columns])
    flags = joint_visibility(frame.depth[rows, columns], owner, pixels, depth, person, width, height, tolerance)
    if not (flags > 0).any():
        return None
    # The file's convention is COCO's, which Detectron2 expects: 0 is the middle of the first pixel.
    keypoints = np.concatenate([np.clip(np.round(pixels - 0.5, 2), 0, (width - 1, height - 1)), flags[:, None]], 1)
    keypoints[flags == OUTSIDE] = 0
    encoded = coco_mask.encode(mask)
    return {
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [float(v) for v in coco_mask.toBbox(encoded)],
        "area": float(area),
        "segmentation": {"size": [height, width], "counts": encoded["counts"].decode("ascii")},
        "num_keypoints": int((flags > 0).sum()),
        "keypoints": [int(v) if k % 3 == 2 else round(v, 2) for k, v in enumerate(keypoints.ravel().tolist())],
        "keypoints_depth": [round(d, 4) for d in depth.tolist()],
        # Millimetres in the camera's axes: x right, y down, z along the view; of all joints, outside of the image too.
        "keypoints_3d": [[round(v, 1) for v in row] for row in (1000 * camera.to_camera(posed.joints)).tolist()],
        "visible_share": round(seen / whole, 4),
    }


def category() -> dict[str, Any]:
    """COCO's person category."""
    return {
        "supercategory": "person", "id": 1, "name": "person", "keypoints": list(body.JOINTS),
        "skeleton": [[a + 1, b + 1] for a, b in body.LIMBS],
    }  # fmt: skip
