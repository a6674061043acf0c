"""How hard a set is, from its annotations alone."""

import numpy as np

from .body import JOINTS


def largest_overlaps(boxes):
    """IoU of each box with the one that overlaps it most; 0 for a box alone.

    Args:
        boxes: (M, 4) x, y, width, height.

    Returns:
        (M,) in [0, 1].
    """
    low, size = boxes[:, :2], boxes[:, 2:]
    shared = np.minimum(low[:, None] + size[:, None], low + size) - np.maximum(low[:, None], low)
    shared = shared.clip(min=0).prod(-1)
    area = size.prod(-1)
    overlap = shared / np.maximum(area[:, None] + area - shared, 1e-9)
    np.fill_diagonal(overlap, 0)
    return overlap.max(1, initial=0)


def difficulty(data):
    """A dict of figures of one COCO-format file: people an image, hidden joints, truncated people, sizes, crowding.

    ``box_overlap_mean`` is the mean over people of the largest IoU with another person's box.
    """
    count = {image["id"]: 0 for image in data["images"]}
    tall = {image["id"]: image["height"] for image in data["images"]}
    flags, heights, boxes = [], [], {}
    for annotation in data["annotations"]:
        count[annotation["image_id"]] += 1
        boxes.setdefault(annotation["image_id"], []).append(annotation["bbox"])
        flags.append(annotation["keypoints"][2::3])
        heights.append(annotation["bbox"][3] / tall[annotation["image_id"]])
    flags = np.array(flags, int).reshape(len(flags), len(JOINTS))
    labelled = max(int((flags > 0).sum()), 1)
    people = np.array(list(count.values()) or [0])
    overlaps = [largest_overlaps(np.array(each, float)) for each in boxes.values()]
    return {
        "images": len(count),
        "people": len(flags),
        "people_per_image_median": float(np.median(people)),
        "people_per_image_mean": round(float(people.mean()), 3),
        "images_without_people": int((people == 0).sum()),
        "hidden_joints_percent": round(100 * float((flags == 1).sum()) / labelled, 2),
        "truncated_people_percent": round(100 * float((flags == 0).any(1).mean()), 2) if len(flags) else 0.0,
        "box_height_percent_median": round(100 * float(np.median(heights)), 2) if heights else 0.0,
        "box_overlap_mean": round(float(np.concatenate(overlaps).mean()), 3) if overlaps else 0.0,
    }


def sentence(name, figures):
    """One readable line."""
    return (
        f"{name}: {figures['images']} images, {figures['people']} people "
        f"(median {figures['people_per_image_median']:g} an image), "
        f"{figures['hidden_joints_percent']:.1f} % of joints hidden, "
        f"{figures['truncated_people_percent']:.1f} % of people truncated, "
        f"median box {figures['box_height_percent_median']:.0f} % of the image's height"
    )
