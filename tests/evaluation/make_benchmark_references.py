#!/usr/bin/env python3
"""Write ``benchmark_references.json``: what the benchmarks' own programs say of the cases of ``benchmark_toys.py``.

CrowdPose, COCO-WholeBody and COCO come from xtcocotools, the evaluation code of the first two's authors. PCKh of MPII
is computed joint by joint after ``evalMPII.m``. To write the file again, in an environment of its own:

    python3 -m venv /tmp/references
    /tmp/references/bin/pip install xtcocotools==1.14.3 "numpy<2"
    /tmp/references/bin/python tests/evaluation/make_benchmark_references.py
"""

import contextlib
import copy
import io
import json
import math
import os
import sys
import tempfile

import numpy as np
from xtcocotools.coco import COCO
from xtcocotools.cocoeval import COCOeval

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import benchmark_toys as toys  # noqa: E402

NAMES = ["AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl"]
CROWD_NAMES = ["AP", "AP50", "AP75", "AR", "AR50", "AR75", "APeasy", "APmedium", "APhard"]


def evaluation(case, kind, sigmas, use_area=True):
    """An evaluation that has run."""
    dataset, results = copy.deepcopy(case)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "labels.json")
        with open(path, "w") as file:
            json.dump(dataset, file)
        truth = COCO(path)
        found = COCOeval(truth, truth.loadRes(results), kind, np.array(sigmas), use_area=use_area)
        found.evaluate()
        found.accumulate()
        found.summarize()
        stats = found.stats.tolist()
        if kind == "keypoints_crowd":  # summarize() rounds these to four decimals
            for place, images in enumerate(found.split(path, 0.2, 0.8), start=6):
                found.params.imgIds = images
                found.evaluate()
                found.accumulate()
                exact = float(np.mean(found.eval["precision"][:, :, :, 0, :]))
                assert abs(exact - stats[place]) <= 5.1e-5
                stats[place] = exact
    return [100 * value if value > -1 else None for value in stats]


def wholebody():
    """Tables of all parts."""
    cuts = {"body": (0, 17), "foot": (17, 23), "face": (23, 91), "lefthand": (91, 112), "righthand": (112, 133),
            "wholebody": (0, 133)}  # fmt: skip
    return {
        part: dict(zip(NAMES, evaluation(toys.wholebody_case(), f"keypoints_{part}", SIGMAS[start:end])))
        for part, (start, end) in cuts.items()
    }


def pckh(share):
    """Shares of right joints: of each joint, and in all without pelvis and thorax."""
    people, mat, results = toys.mpii_case()
    right, count = [0] * 16, [0] * 16
    for i in range(len(people)):
        predicted = results[i]["keypoints"]
        (x0, y0), (x1, y1) = mat["headboxes_src"][i]
        head = 0.6 * math.hypot(x1 - x0, y1 - y0)
        for k in range(16):
            if mat["jnt_missing"][i][k]:
                continue
            x, y = mat["pos_gt_src"][i][k]
            count[k] += 1
            right[k] += math.hypot(predicted[3 * k] + 1 - x, predicted[3 * k + 1] + 1 - y) / head <= share
    each = {name: 100 * right[k] / count[k] for k, name in enumerate(toys.MPII_JOINTS)}
    kept = [k for k in range(16) if toys.MPII_JOINTS[k] not in ("pelv", "thor")]
    return each, 100 * sum(right[k] for k in kept) / sum(count[k] for k in kept)


def mpii():
    """The table as papers have it."""
    each, mean = pckh(0.5)
    groups = {"Head": ["head"]}
    for group, end in (
        ("Shoulder", "sho"),
        ("Elbow", "elb"),
        ("Wrist", "wri"),
        ("Hip", "hip"),
        ("Knee", "kne"),
        ("Ankle", "ank"),
    ):
        groups[group] = [f"l{end}", f"r{end}"]
    table = {group: sum(each[name] for name in names) / len(names) for group, names in groups.items()}
    return {**table, "PCKh": mean, "PCKh@0.1": pckh(0.1)[1]}


# Of COCO-WholeBody, myeval_wholebody.py.
HAND = [.029, .022, .035, .037, .047, .026, .025, .024, .035, .018, .024, .022, .026, .017, .021, .021, .032, .02, .019,
        .022, .031]  # fmt: skip
SIGMAS = [*toys.COCO_SIGMAS, .068, .066, .066, .092, .094, .094, .042, .043, .044, .043, .040, .035, .031, .025, .020,
          .023, .029, .032, .037, .038, .043, .041, .045, .013, .012, .011, .011, .012, .012, .011, .011, .013, .015,
          .009, .007, .007, .007, .012, .009, .008, .016, .010, .017, .011, .009, .011, .009, .007, .013, .008, .011,
          .012, .010, .034, .008, .008, .009, .008, .008, .007, .010, .008, .009, .009, .009, .007, .007, .008, .011,
          .008, .008, .008, .01, .008, *HAND, *HAND]  # fmt: skip


def main():
    """Write the file."""
    with contextlib.redirect_stdout(io.StringIO()):
        crowd = evaluation(toys.crowdpose_case(), "keypoints_crowd", toys.CROWDPOSE_SIGMAS, use_area=False)
        references = {
            "coco": dict(zip(NAMES, evaluation(toys.coco_case(), "keypoints", toys.COCO_SIGMAS))),
            "crowdpose": dict(zip(CROWD_NAMES, crowd)),
            "wholebody": wholebody(),
            "mpii": mpii(),
        }
    with open(os.path.join(HERE, "benchmark_references.json"), "w") as file:
        json.dump(references, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
