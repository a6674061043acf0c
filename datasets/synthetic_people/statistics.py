"""How hard a set is, from its annotations alone."""

from typing import Any

import numpy as np

from .body import JOINTS


def largest_overlaps(boxes: np.ndarray) -> np.ndarray:
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


CLOSE = 0.5  # share of the smaller box from which two people count as crossing


def clip_figures(data: dict) -> dict[str, float]:
    """A dict of figures of one clip's labels; its images name in ``hidden`` the tracks that are in the image and have
    no annotation.

    A full occlusion is a gap of a track all of whose frames are ``hidden``; an exit with re-entry is any other gap. A
    crossing is a time during which two annotated people cover more than ``CLOSE`` of the smaller box; a break of up to
    0.2 s does not end it.
    """
    rate = data["videos"][0]["rate"]
    hidden = {image["frame_index"]: set(image["hidden"]) for image in data["images"]}
    frame_of = {image["id"]: image["frame_index"] for image in data["images"]}
    tracks: dict[int, list[int]] = {}
    rows: dict[int, list[tuple[int, list[float]]]] = {}
    for annotation in data["annotations"]:
        frame = frame_of[annotation["image_id"]]
        tracks.setdefault(annotation["track_id"], []).append(frame)
        rows.setdefault(frame, []).append((annotation["track_id"], annotation["bbox"]))
    occlusions, exits = [], 0
    for track, frames in tracks.items():
        for before, after in zip(frames, frames[1:]):
            if after > before + 1:
                if all(track in hidden[f] for f in range(before + 1, after)):
                    occlusions.append((after - before - 1) / rate)
                else:
                    exits += 1
    pairs: dict[tuple[int, int], list[int]] = {}
    overlaps: list[float] = []
    for frame, people in sorted(rows.items()):
        boxes = np.array([box for _, box in people], float)
        overlaps += largest_overlaps(boxes).tolist()
        for i, j in zip(*np.nonzero(np.triu(covered_shares(boxes) > CLOSE, 1))):
            pairs.setdefault((people[i][0], people[j][0]), []).append(frame)
    crossings = sum([1 + int((np.diff(frames) > 0.2 * rate + 1).sum()) for frames in pairs.values()])
    return {
        "frames": len(data["images"]),
        "people": len(tracks),
        "people_per_frame": round(len(data["annotations"]) / max(len(data["images"]), 1), 2),
        "full_occlusions": len(occlusions),
        "full_occlusion_seconds_median": round(float(np.median(occlusions)), 2) if occlusions else 0.0,
        "full_occlusion_seconds_max": round(float(max(occlusions, default=0.0)), 2),
        "exits_with_reentry": exits,
        "crossings": crossings,
        "box_overlap_mean": round(float(np.mean(overlaps)), 3) if overlaps else 0.0,
    }


def covered_shares(boxes: np.ndarray) -> np.ndarray:
    """Which share of the smaller box of each two is covered by the other: (M, 4) x, y, width, height to (M, M)."""
    low, size = boxes[:, :2], boxes[:, 2:]
    shared = np.minimum(low[:, None] + size[:, None], low + size) - np.maximum(low[:, None], low)
    area = size.prod(-1)
    return shared.clip(min=0).prod(-1) / np.maximum(np.minimum(area[:, None], area), 1e-9)


def clips_summary(clips: list[dict[str, float]]) -> dict:
    """Totals and means over the figures of clips, and these themselves in ``clips``."""
    total = {name: sum(clip[name] for clip in clips)
             for name in ("frames", "full_occlusions", "exits_with_reentry", "crossings")}  # fmt: skip
    people = [clip["people"] for clip in clips] or [0]
    overlap = round(float(np.mean([clip["box_overlap_mean"] for clip in clips])), 3) if clips else 0.0
    return {**total, "people_min": min(people), "people_max": max(people), "tracks": sum(people),
            "box_overlap_mean": overlap, "clips": clips}  # fmt: skip


def clips_sentence(name: str, figures: dict) -> str:
    """One readable line on :func:`clips_summary`."""
    return (
        f"{name}: {len(figures['clips'])} clips of {figures['people_min']} to {figures['people_max']} people "
        f"({figures['tracks']} tracks, {figures['frames']} frames), {figures['full_occlusions']} full occlusions, "
        f"{figures['exits_with_reentry']} exits with re-entry, {figures['crossings']} crossings, "
        f"mean largest box IoU {figures['box_overlap_mean']:.2f}"
    )


def difficulty(data: dict[str, Any]) -> dict[str, float]:
    """A dict of figures of one COCO-format file: people an image, hidden joints, truncated people, sizes, crowding.

    ``box_overlap_mean`` is the mean over people of the largest IoU with another person's box.
    """
    count = {image["id"]: 0 for image in data["images"]}
    tall = {image["id"]: image["height"] for image in data["images"]}
    rows, heights = [], []
    boxes: dict[int, list[list[float]]] = {}
    for annotation in data["annotations"]:
        count[annotation["image_id"]] += 1
        boxes.setdefault(annotation["image_id"], []).append(annotation["bbox"])
        rows.append(annotation["keypoints"][2::3])
        heights.append(annotation["bbox"][3] / tall[annotation["image_id"]])
    flags = np.array(rows, int).reshape(len(rows), len(JOINTS))
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


def sentence(name: str, figures: dict[str, float]) -> str:
    """One readable line."""
    return (
        f"{name}: {figures['images']} images, {figures['people']} people "
        f"(median {figures['people_per_image_median']:g} an image), "
        f"{figures['hidden_joints_percent']:.1f} % of joints hidden, "
        f"{figures['truncated_people_percent']:.1f} % of people truncated, "
        f"median box {figures['box_height_percent_median']:.0f} % of the image's height"
    )
