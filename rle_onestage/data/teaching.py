"""Who of a training set really teaches, and the likely cause where nobody does."""

from collections import Counter
from typing import NamedTuple

import numpy as np
from detectron2.structures import BoxMode

from ..errors import counted_as
from .coco.json_files import Problems
from .labels import LabelRules
from .transforms import augmentation as aug

# People at once: 17 joints of so many are 8 MB.
_CHUNK = 20_000
# Why a person teaches no joint, in the order of looking; the likely cause in words.
_CAUSES = {
    "crowd": "of crowds (`iscrowd` 1), which are ignored",
    "small": f"with a box of which a side is below {aug.MIN_BOX_SIDE:g} pixels or hardly anything in the image, which "
    "are ignored; give coordinates in pixels of the image",
    "unlabelled": "without a labelled joint (visibility 1 or 2) of the model's; look whether every visibility is 0",
    "outside": "with all labelled joints outside the image; give coordinates in pixels of the image",
}
# What to do about annotations that were left out, by a word of the reason.
_REMEDIES = {
    "of positive size": "write `bbox`, x, y, width and height in pixels",
    "outside the image": "give boxes in pixels of the image",
    "category": "set `category_id` to the category that has `keypoints`",
}


class Teaching(NamedTuple):
    """What the people of some images teach."""

    people: int  # those with a labelled joint of the model's in the image, and a box that is large enough
    joints: int  # labelled joints of these
    boxes: int  # people who teach where a person is, but no joint
    others: Counter  # why the others, and those of ``boxes``, teach no joint: key of the causes -> number


def count_teaching(records: list[dict], rules: LabelRules) -> Teaching:
    """Count who teaches, in images as they are: before anything is turned, scaled or pasted.

    Args:
        records: data set dictionaries of one set, ours or Detectron2's.
        rules: of the set.
    """
    total = Teaching(0, 0, 0, Counter())
    people = [(record, a) for record in records for a in record.get("annotations") or ()]
    crowds = sum(bool(a.get("iscrowd", 0)) for _, a in people)
    people = [(record, a) for record, a in people if not a.get("iscrowd", 0)]
    for start in range(0, len(people), _CHUNK):
        found = _count(people[start : start + _CHUNK], rules)
        total = Teaching(
            total.people + found.people,
            total.joints + found.joints,
            total.boxes + found.boxes,
            total.others + found.others,
        )
    return total._replace(others=total.others + Counter(crowd=crowds))


def _count(people: list[tuple[dict, dict]], rules: LabelRules) -> Teaching:
    """Of those who are no crowd."""
    sizes = np.array([(record["width"], record["height"]) for record, _ in people], float)
    boxes = np.array([a["bbox"] for _, a in people], float)
    if any(a["bbox_mode"] == BoxMode.XYXY_ABS for _, a in people):
        corners = np.array([a["bbox_mode"] == BoxMode.XYXY_ABS for _, a in people])
        boxes[corners, 2:] -= boxes[corners, :2]
    high = np.minimum(boxes[:, :2] + boxes[:, 2:], sizes)
    sides = (high - np.maximum(boxes[:, :2], 0)).clip(min=0)
    share = sides.prod(1) / np.maximum(boxes[:, 2:].prod(1), 1e-9)
    area = np.array([a.get("area", 1.0) for _, a in people], float)
    large = (sides.min(1) >= aug.MIN_BOX_SIDE) & (share >= aug.MIN_VISIBLE_SHARE) & (area > 0)
    places = rules.joints[rules.joints >= 0]
    nothing = [0.0] * (3 * int(places.max() + 1))
    rows = [(a.get("keypoints") or nothing)[: len(nothing)] for _, a in people]
    keypoints = np.array(rows, float).reshape(len(people), -1, 3)[:, places]  # (A, joints that the model has, 3)
    labelled = keypoints[..., 2] > 0
    inside = labelled & (keypoints[..., :2] >= 0).all(-1) & (keypoints[..., :2] <= sizes[:, None]).all(-1)
    teaches = large & inside.any(1)
    others = Counter(
        small=int((~large).sum()),
        unlabelled=int((large & ~labelled.any(1)).sum()),
        outside=int((large & labelled.any(1) & ~inside.any(1)).sum()),
    )
    return Teaching(int(teaches.sum()), int(inside[teaches].sum()), int((large & ~teaches).sum()), others)


NO_ANNOTATIONS = "its images have no annotations; export the file anew, as COCO keypoints"


def why_nobody(teaching: Teaching, problems: Problems) -> str:
    """The likely cause why nobody of a set teaches.

    Args:
        teaching: of the set.
        problems: of its file.
    """
    if problems.doubts:
        return "; ".join(doubt.sentence for doubt in problems.doubts)
    others = [(_CAUSES[cause], count) for cause, count in teaching.others.most_common() if count]
    reasons = [counted_as(count, f"annotations {cause}") for cause, count in others]
    for reason, count in problems.counts().items():
        remedies = [remedy for word, remedy in _REMEDIES.items() if word in reason and "left out" in reason]
        reasons += [f"{counted_as(count, reason)}; {remedy}" for remedy in remedies]
    return "; ".join(reasons) or NO_ANNOTATIONS
