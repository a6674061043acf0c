"""The synthetic data set: labels agree with the pixels, the files do not depend on how they were made."""

import contextlib
import errno
import hashlib
import io
import itertools
import json
import os
import signal

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from synthetic_people import labels, make_dataset, make_image, make_settings, seeds, writer
from synthetic_people.figure import Figure
from synthetic_people.outfit import Materials
from synthetic_people.primitives import Polygons
from synthetic_people.raster import NEAR
from synthetic_people.render import render
from synthetic_people.scene import Layout, sample_scene

from rle_onestage.errors import DataError

SMALL = dict(train=20, val=24, videos=1, frames=12, size=128, seed=3)


def digest(folder):
    found = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, folder)] = hashlib.sha256(file.read()).hexdigest()
    return found


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic") / "set"
    make_dataset(folder, workers=1, quiet=True, **SMALL)
    return folder


def load(folder, split="val"):
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(folder / "annotations" / f"person_keypoints_{split}.json"))


def test_files_do_not_depend_on_the_number_of_workers(dataset, tmp_path):
    make_dataset(tmp_path / "again", workers=2, quiet=True, **SMALL)
    assert digest(dataset) == digest(tmp_path / "again")


def test_another_seed_makes_other_images():
    one, _, _ = make_image(0, "train", 0, (128, 96), Layout())
    two, _, _ = make_image(1, "train", 0, (128, 96), Layout())
    three, _, _ = make_image(0, "val", 0, (128, 96), Layout())
    assert not np.array_equal(one, two) and not np.array_equal(one, three)


def test_splits_share_no_seed():
    states = set()
    keys = itertools.product((0, 1), seeds.SPLITS, range(40), seeds.PURPOSES, (0, 1, 2, 1000))
    count = 0
    for key in keys:
        states.add(tuple(np.random.SeedSequence(seeds.seed_key(*key)).generate_state(4)))
        count += 1
    assert len(states) == count


def test_finished_set_is_reused_and_a_different_one_is_refused(dataset):
    before = os.stat(dataset / "train").st_mtime_ns
    make_dataset(dataset, workers=1, quiet=True, **SMALL)
    assert os.stat(dataset / "train").st_mtime_ns == before
    with pytest.raises(DataError, match="--force"):
        make_dataset(dataset, workers=1, quiet=True, **{**SMALL, "seed": 4})


def test_force_replaces_a_synthetic_set_only(tmp_path):
    tiny = dict(train=1, val=1, videos=0, size=64, workers=1, quiet=True)
    make_dataset(tmp_path / "a", **tiny)
    make_dataset(tmp_path / "a", force=True, **{**tiny, "seed": 9})
    assert json.loads((tmp_path / "a" / "settings.json").read_text())["seed"] == 9
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "precious.txt").write_text("x")
    with pytest.raises(DataError, match="not a synthetic set"):
        make_dataset(tmp_path / "b", force=True, **tiny)
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def broken(job):
        raise OSError("disk is gone")

    monkeypatch.setattr(writer, "work", broken)
    with pytest.raises(DataError, match="disk is gone"):
        make_dataset(tmp_path / "a", train=1, val=1, videos=0, size=64, workers=1, quiet=True)
    assert os.listdir(tmp_path) == []


def killed(job):
    os.kill(os.getpid(), signal.SIGKILL)


def full(job):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "1.jpg")


@pytest.mark.parametrize(("fault", "words"), [(killed, "was killed .*--workers"), (full, "No space left .*--shm-size")])
def test_a_lost_process_or_a_full_disk_is_explained(tmp_path, monkeypatch, fault, words):
    monkeypatch.setattr(writer, "work", fault)
    with pytest.raises(DataError, match=words):
        make_dataset(tmp_path / "set", train=40, val=0, videos=0, size=64, workers=2, quiet=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "changes, words",
    [
        (dict(preset="huge"), "quickstart"),
        (dict(people=(3, 2)), "MIN and MAX"),
        (dict(size=11), "even numbers"),
        (dict(size=(64, 64, 64)), "even numbers"),
        (dict(train=-1), "--train"),
        (dict(frames=1), "--frames"),
        (dict(seed=-1), "seed"),
    ],
)
def test_bad_arguments_are_explained(tmp_path, changes, words):
    with pytest.raises(DataError, match=words):
        make_dataset(tmp_path / "x", quiet=True, **changes)
    assert not os.listdir(tmp_path)


def test_boxes_areas_and_masks_agree(dataset):
    coco = load(dataset)
    assert len(coco.anns) > 40
    taken = {}
    for annotation in coco.anns.values():
        image = coco.imgs[annotation["image_id"]]
        mask = coco.annToMask(annotation)
        assert mask.shape == (image["height"], image["width"])
        assert annotation["area"] == mask.sum() == coco_mask.area(coco.annToRLE(annotation))
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        x, y, w, h = annotation["bbox"]
        assert (x, y, x + w, y + h) == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        assert annotation["visible_share"] >= labels.MIN_VISIBLE_SHARE
        taken.setdefault(annotation["image_id"], []).append(mask)
    for masks in taken.values():  # a sample belongs to one person; a pixel of 2 x 2 samples to at most two
        assert sum(m.astype(int) for m in masks).max() <= 2
        assert (sum(m.astype(int) for m in masks) == 2).mean() < 0.02


def test_keypoints_are_consistent(dataset):
    coco = load(dataset)
    for annotation in coco.anns.values():
        image = coco.imgs[annotation["image_id"]]
        joints = np.array(annotation["keypoints"]).reshape(17, 3)
        assert annotation["num_keypoints"] == (joints[:, 2] > 0).sum() > 0
        assert (joints[joints[:, 2] == 0] == 0).all()
        x, y, _ = joints[joints[:, 2] > 0].T
        assert (
            (x >= 0).all() and (x <= image["width"] - 1).all() and (y >= 0).all() and (y <= image["height"] - 1).all()
        )
        assert len(annotation["keypoints_depth"]) == 17
    category = coco.cats[1]
    assert category["keypoints"][0] == "nose" and len(category["keypoints"]) == 17
    assert (
        min(min(limb) for limb in category["skeleton"]) == 1 and max(max(limb) for limb in category["skeleton"]) == 17
    )


def test_visible_joints_lie_in_the_mask(dataset):
    """A visible joint is seen through the person's own surface, up to the half pixel of an outline."""
    coco = load(dataset)
    inside = total = 0
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation)
        grown = np.pad(mask, 2)
        grown = sum(np.roll(grown, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1))[2:-2, 2:-2]
        for x, y, v in np.array(annotation["keypoints"]).reshape(17, 3):
            if v == 2:
                total += 1
                inside += grown[int(round(y)), int(round(x))] > 0
    assert inside / total > 0.985


def first_surface(quadrics, x, y):
    """Depth of the nearest entry into any quadric along a ray of world space, one at a time and in float64."""
    nearest = np.inf
    for centre, basis, (a, az, bz, c), clip in zip(*quadrics[:4]):
        inverse = np.linalg.inv(basis)
        start, step = inverse @ (x - centre), inverse @ y
        form = np.array([a, a, az])
        k2, k1 = (form * step**2).sum(), (form * step * start).sum() + bz * step[2]
        k0 = (form * start**2).sum() + 2 * bz * start[2] + c
        disc = k1**2 - k2 * k0
        if disc <= 0:
            continue
        t = (-k1 - np.sqrt(disc)) / k2
        if t > NEAR and abs(np.array(clip[:3]) @ (start + t * step) + clip[3]) < 1:
            nearest = min(nearest, t)
    return nearest


def test_visibility_equals_a_brute_force_ray_test():
    """Each joint's flag again, by a ray to the joint's exact pixel against every quadric of every person and object."""
    agree = total = hidden = 0
    for number in range(5):
        scene = sample_scene(5, "val", number, (160, 128), Layout(people=(3, 4)))
        scene.objects.polygons = Polygons()
        _, annotations = render(scene, np.random.default_rng(0))
        parts = [
            Figure(p.posed, p.outfit, Materials(), k, np.random.default_rng(0)).build()
            for k, p in enumerate(scene.people)
        ]
        solids = [(q.centre, q.basis, q.form, q.clip) for q in parts]
        others = scene.objects.quadrics
        camera = scene.camera
        for k, (person, annotation) in enumerate(zip(scene.people, annotations)):
            if annotation is None:
                continue
            pixels, depth = camera.project(person.posed.joints)
            flags = np.array(annotation["keypoints"]).reshape(17, 3)[:, 2]
            shape = person.posed.shape
            tolerance = labels.TOLERANCE * shape.height * max(shape.girth, 1)
            for j in np.flatnonzero(flags):
                direction = (person.posed.joints[j] - camera.position) / depth[j]
                own = first_surface(solids[k], camera.position, direction)
                rest = [first_surface(s, camera.position, direction) for i, s in enumerate(solids) if i != k]
                rest.append(
                    first_surface((others.centre, others.basis, others.form, others.clip), camera.position, direction)
                )
                nearest = min(rest)
                expected = (
                    1 if (nearest < min(own, depth[j]) or (own < nearest and depth[j] - own > tolerance[j])) else 2
                )
                agree += expected == flags[j]
                total += 1
                hidden += flags[j] == 1
    assert total > 80 and hidden > 8
    assert agree / total > 0.97  # the renderer asks at the nearest sample, half a sample away


def test_ground_truth_as_predictions_gives_100(dataset):
    coco = load(dataset)
    results = [
        {"image_id": a["image_id"], "category_id": 1, "keypoints": a["keypoints"], "score": 1.0, "bbox": a["bbox"]}
        for a in coco.anns.values()
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(coco, coco.loadRes(results), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0, abs=1e-9)


def test_the_quickstart_preset_is_as_hard_as_it_should_be():
    """Figures on a sample of the unseen split; the bars are 3 people, 20 % and 10 %."""
    settings = make_settings("quickstart")
    people, flags = [], []
    for number in range(60):
        _, annotations, _ = make_image(settings.seed, "val", number, 128, settings.layout, 1)
        people.append(len(annotations))
        flags += [a["keypoints"][2::3] for a in annotations]
    flags = np.array(flags)
    assert np.median(people) >= 3
    assert (flags == 1).sum() / (flags > 0).sum() > 0.2
    assert (flags == 0).any(1).mean() > 0.1
