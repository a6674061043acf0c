"""Small files in the layouts of benchmarks, and detections for them, the same on every machine.

``evaluation/make_benchmark_references.py`` imports it in an environment without this package, so that only the standard
library is used; and ``random.Random.random`` alone, whose numbers never change.
"""

import random

CROWDPOSE_SIGMAS = [0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089, 0.079, 0.079]
COCO_SIGMAS = [0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087,
               0.089, 0.089]  # fmt: skip
# COCO-WholeBody's lists of joints: key, number of joints.
PARTS = [("keypoints", 17), ("foot_kpts", 6), ("face_kpts", 68), ("lefthand_kpts", 21), ("righthand_kpts", 21)]
MPII_JOINTS = ["rank", "rkne", "rhip", "lhip", "lkne", "lank", "pelv", "thor", "neck", "head", "rwri", "relb", "rsho",
               "lsho", "lelb", "lwri"]  # fmt: skip


class Numbers:
    """Random numbers by a seed."""

    def __init__(self, seed):
        self.draw = random.Random(seed).random

    def between(self, low, high):
        """A number, with two decimals as in files."""
        return round(low + (high - low) * self.draw(), 2)

    def whole(self, low, high):
        """A whole number, both ends included."""
        return low + int(self.draw() * (high - low + 1))


def _person(numbers, joints):
    """A label without ids: keypoints, box, area."""
    x, y = numbers.between(0, 400), numbers.between(0, 300)
    w, h = (10 ** numbers.between(1.2, 2.4) for _ in "xy")
    nothing, keypoints = numbers.draw() < 0.15, []
    for _ in range(joints):
        flag = 0 if nothing else numbers.whole(0, 2)
        place = (round(x + w * numbers.draw(), 2), round(y + h * numbers.draw(), 2))
        keypoints += [*place, flag] if flag else [0, 0, 0]
    return {
        "category_id": 1,
        "iscrowd": int(numbers.draw() < 0.08),
        "bbox": [x, y, round(w, 2), round(h, 2)],
        "area": round(w * h * numbers.between(0.4, 0.8), 2),
        "keypoints": keypoints,
    }


def _detection(numbers, person, ratio):
    """A result near a person: errors up to a share of the size of the box; some are sure of no joint."""
    x, y, w, h = person["bbox"]
    unsure, keypoints = numbers.draw() < 0.1, []
    points = person["keypoints"]
    for px, py, flag in zip(points[0::3], points[1::3], points[2::3]):
        px, py = (px, py) if flag else (x + w / 2, y + h / 2)
        error = [ratio * size * (2 * numbers.draw() - 1) for size in (w, h)]
        keypoints += [round(px + error[0], 2), round(py + error[1], 2), 0 if unsure else numbers.between(0.1, 1)]
    return {"category_id": 1, "keypoints": keypoints, "score": round(numbers.draw(), 1)}


def detection_case(seed, joints, images=14, boxes=True):
    """A file of COCO's layout without ``categories``, and results; with crowds, people without joints, equal scores."""
    numbers = Numbers(seed)
    listed, annotations, results = [], [], []
    for i in range(images):
        listed.append({"id": 11 + 3 * i, "file_name": f"{i:06d}.jpg", "width": 700, "height": 600})
        for _ in range(numbers.whole(0, 4)):
            person = _person(numbers, joints)
            annotations.append({**person, "image_id": listed[-1]["id"], "id": len(annotations) + 1})
            for _ in range(numbers.whole(0, 2)):
                results.append({**_detection(numbers, person, [0.0, 0.02, 0.1][numbers.whole(0, 2)])})
                results[-1]["image_id"] = listed[-1]["id"]
        for _ in range(numbers.whole(0, 2)):
            results.append({**_detection(numbers, _person(numbers, joints), 0.1), "image_id": listed[-1]["id"]})
    for result in results if boxes else ():
        x, y = result["keypoints"][0::3], result["keypoints"][1::3]
        result["bbox"] = [min(x) - 2, min(y) - 2, max(x) - min(x) + 4, max(y) - min(y) + 4]
    for a in annotations:
        a["num_keypoints"] = sum(flag > 0 for flag in a["keypoints"][2::3])
    category = {"id": 1, "name": "person", "keypoints": [f"joint{k}" for k in range(joints)], "skeleton": []}
    return {"images": listed, "annotations": annotations, "categories": [category]}, results


def coco_case():
    """COCO's layout, as OCHuman and Human-Art have it."""
    dataset, results = detection_case(1, 17)
    return dataset, [result for result in results if any(result["keypoints"][2::3])]


def crowdpose_case():
    """CrowdPose's layout: ``crowdIndex``, and ``num_keypoints`` that counts visible joints alone."""
    dataset, results = detection_case(2, 14, images=24, boxes=False)
    numbers = Numbers(3)
    for image in dataset["images"]:
        image["crowdIndex"] = [0.1, 0.2, 0.5, 0.8, 0.95][numbers.whole(0, 4)]
    hidden = next(a for a in dataset["annotations"] if a["num_keypoints"] > 3 and not a["iscrowd"])
    hidden["keypoints"][2::3] = [min(flag, 1) for flag in hidden["keypoints"][2::3]]
    for a in dataset["annotations"]:
        a["num_keypoints"] = sum(flag == 2 for flag in a["keypoints"][2::3])
    return dataset, results


def split_parts(entry):
    """A person or a result of 133 joints with COCO-WholeBody's lists."""
    start, lists = 0, {}
    for key, number in PARTS:
        lists[key] = entry["keypoints"][3 * start : 3 * (start + number)]
        start += number
    return {**entry, **lists}


def wholebody_case():
    """COCO-WholeBody's layout; some results have a score of the face or are unsure of a hand, some people no face."""
    dataset, results = detection_case(4, 133, images=10, boxes=False)
    numbers = Numbers(5)
    dataset["annotations"] = [split_parts(a) for a in dataset["annotations"]]
    for a in dataset["annotations"]:
        if numbers.draw() < 0.3:
            a["face_kpts"] = [0] * len(a["face_kpts"])
        a["num_keypoints"] = sum(flag > 0 for flag in a["keypoints"][2::3])
    dataset["categories"][0]["keypoints"] = [f"joint{k}" for k in range(17)]
    results = [split_parts(result) for result in results]
    for result in results:
        if numbers.draw() < 0.2:
            result["lefthand_kpts"][2::3] = [0] * 21
        if numbers.draw() < 0.5:
            result["face_score"] = numbers.between(0, 1)
    return dataset, results


def mpii_case():
    """MPII's layout: the JSON list, the arrays of Matlab's file, and results that say whose they are."""
    numbers = Numbers(6)
    people, results = [], []
    mat = {"jnt_missing": [], "pos_gt_src": [], "headboxes_src": [], "dataset_joints": MPII_JOINTS}
    for i in range(12):
        x, y, size = numbers.between(100, 500), numbers.between(100, 500), numbers.between(80, 300)
        joints = [
            [numbers.between(x - size / 2, x + size / 2), numbers.between(y - size / 2, y + size / 2)]
            for _ in range(16)
        ]
        visible = [int(numbers.draw() < 0.8) for _ in range(16)]
        joints = [joint if flag else [-1.0, -1.0] for joint, flag in zip(joints, visible)]
        people.append({
            "image": f"{i // 2 + 5:09d}.jpg", "center": [x, y], "scale": size / 200, "joints": joints,
            "joints_vis": visible,
        })  # fmt: skip
        corner = [numbers.between(x - 40, x), numbers.between(y - 40, y)]
        mat["headboxes_src"].append([corner, [corner[0] + size / 8, corner[1] + size / 6]])
        mat["pos_gt_src"].append(joints)
        mat["jnt_missing"].append([1 - flag for flag in visible])
        keypoints = []
        for jx, jy in joints:
            error = size * [0.0, 0.01, 0.05, 0.1][numbers.whole(0, 3)]
            keypoints += [
                round(jx - 1 + error * (2 * numbers.draw() - 1), 2),
                round(jy - 1 + error * numbers.draw(), 2),
                1,
            ]
        result = {"image_id": i // 2 + 5, "category_id": 1, "score": round(numbers.draw(), 3)}
        results.append({**result, "annotation_id": i + 1, "keypoints": keypoints})
    return people, mat, results
