"""Joints in space: what is read of them, what becomes of them under augmentation, and what is said of bad ones."""

import logging

import numpy as np
import pytest
from data_toys import make_config, write_set
from space_toys import CAMERA, ENTRY, SIZE, annotation, content, standing

from rle_onestage.data.coco.annotations import read_keypoints
from rle_onestage.data.coco.records import records_of
from rle_onestage.data.datasets import load_dataset
from rle_onestage.data.labels import plain_rules
from rle_onestage.data.mapper import PoseMapper
from rle_onestage.data.people import onto_canvas, read_people
from rle_onestage.data.transforms import augmentation as aug
from rle_onestage.structures.root import root_weights
from rle_onestage.structures.skeleton import COCO

ROOT = root_weights(COCO.names)[0]


def read(data):
    file = read_keypoints(data, "labels.json")
    return file, file.problems.counts()


def test_depth_is_in_pixels_of_the_root_s_distance():
    points = standing()
    file, problems = read(content([[annotation(1, 1, points)]]))
    root = ROOT @ points
    assert not problems
    assert np.allclose(file.space.points[0], points - root)
    assert file.space.size[0] == pytest.approx(root[2] / 120)
    assert np.allclose(file.space.depth[0] * file.space.size[0], points[:, 2] - root[2])
    assert np.allclose(file.space.root[0], root)


def test_a_camera_of_the_file_is_that_of_all_images_without_their_own():
    data = content([[annotation(1, 1, standing())], [annotation(2, 2, standing(1))]], camera=None)
    data["images"][1]["camera"] = {"focal": 120.0, "principal_point": [48.0, 40.0]}
    data["camera"] = ENTRY
    file, problems = read(data)
    assert not problems and np.isfinite(file.space.root).all()
    assert [record["camera"] for record in records_of(file, "images")] == [CAMERA, CAMERA]


@pytest.mark.parametrize("shift", [[0, 0, 0], [1000, -300, 77]])
def test_places_relative_to_any_point_do_without_a_camera(shift):
    points = standing(distance=8000.0)
    one = annotation(1, 1, points)
    one["keypoints_3d"] = (points - points[3] + shift).tolist()
    file, problems = read(content([[one]], camera=None))
    assert list(problems.values()) == [1] and "without usable intrinsics" in next(iter(problems))
    assert np.allclose(file.space.points[0], points - ROOT @ points)
    assert file.space.size[0] == pytest.approx((ROOT @ points)[2] / 120, rel=0.03)
    assert np.isnan(file.space.root).all()


@pytest.mark.parametrize("camera", [
    {"focal": 600.0, "principal_point": [48.0, 40.0]}, {"focal": 120.0, "principal_point": [400.0, 400.0]},
])  # fmt: skip
def test_a_camera_that_does_not_fit_is_said_and_not_used(camera):
    file, problems = read(content([[annotation(1, 1, standing())]], camera=camera))
    assert list(problems.values()) == [1] and "do not fall on their pixels" in next(iter(problems))
    assert file.space.size[0] == pytest.approx(3500 / 120, rel=0.1) and np.isnan(file.space.root).all()


@pytest.mark.parametrize("camera", [5, {"focal": -1, "principal_point": [0, 0]}, {"focal": "wide"}, None])
def test_intrinsics_that_are_none_are_as_missing_ones(camera):
    data = content([[annotation(1, 1, standing())]])
    data["images"][0]["camera"] = camera
    file, problems = read(data)
    assert "without usable intrinsics" in next(iter(problems)) and file.space.size[0] == pytest.approx(29.5, rel=0.1)


def test_joints_and_people_without_depth_are_used_as_far_as_they_go(caplog):
    points = standing()
    partly = annotation(1, 1, points)
    partly["keypoints_3d"][3], partly["keypoints_3d"][9] = None, [float("nan"), 1.0, 2.0]
    without = annotation(2, 1, standing(1))
    del without["keypoints_3d"]
    hipless = annotation(3, 1, standing(2))
    hipless["keypoints_3d"][11] = None
    odd = annotation(4, 1, standing(3), keypoints_3d=[[1, 2]] * 17)
    words = annotation(5, 1, standing(4), keypoints_3d=[10**400] * 51)
    elsewhere = annotation(6, 1, standing(5))
    elsewhere["keypoints_3d"] = np.random.default_rng(0).normal(0, 500, (17, 3)).tolist()
    flat = annotation(7, 1, standing(6))
    flat["keypoints_3d"] = np.ravel(flat["keypoints_3d"]).tolist()
    crowd = annotation(8, 1, standing(7), iscrowd=1)
    del crowd["keypoints_3d"]
    file, problems = read(content([[partly, without, hipless, odd, words, elsewhere, flat, crowd]]))
    known = np.isfinite(file.space.depth)
    assert known[0].tolist() == [k not in (3, 9) for k in range(17)] and known[6].all()
    assert not known[[1, 2, 3, 4, 5, 7]].any()
    assert sorted(problems.values()) == [1, 1, 1, 2, 2]  # two with gaps; two that are no triples
    assert all("without depth" in reason or "whose depth is left out" in reason for reason in problems)
    with caplog.at_level(logging.WARNING):
        records = records_of(file, "images")
        records_of(file, "images")
    assert len({record.getMessage() for record in caplog.records}) == len(problems)  # each once
    people = records[0]["annotations"]
    assert ["depth" in a for a in people] == [True, False, False, False, False, False, True, False]
    assert len(file.keypoints) == 8 and (file.keypoints[:, :, 2] == 2).all()  # the plane keeps everything


def test_files_without_depth_are_as_ever():
    data = content([[annotation(1, 1, standing())]], camera=None)
    del data["annotations"][0]["keypoints_3d"]
    file, problems = read(data)
    assert file.space is None and not problems
    assert set(records_of(file, "images")[0]) == {"file_name", "image_id", "height", "width", "annotations"}


def test_a_skeleton_without_hips_is_relative_to_the_middle_of_its_joints():
    names = [f"marker{k}" for k in range(17)]
    points = standing()
    file, problems = read(content([[annotation(1, 1, points)]], names=names))
    assert not problems and np.allclose(file.space.points[0], points - points.mean(0))


def test_without_hips_a_joint_without_a_place_costs_its_own_depth_alone():
    names = [f"marker{k}" for k in range(17)]
    one, other = annotation(1, 1, standing()), annotation(2, 2, standing(1))
    one["keypoints_3d"][3] = None
    for k in range(5):  # more than a quarter
        other["keypoints_3d"][k] = None
    file, problems = read(content([[one], [other]], names=names))
    rest = np.delete(np.arange(17), 3)
    assert np.allclose(file.space.points[0][rest], standing()[rest] - standing()[rest].mean(0))
    assert np.isfinite(file.space.depth).tolist() == [[k != 3 for k in range(17)], [False] * 17]
    assert {reason.partition(",")[0] for reason in problems} == {
        "annotations with joints without a finite place in `keypoints_3d`",
        "annotations whose root is the middle of the joints that have a place",
        "annotations whose `keypoints_3d` lacks too many of the joints whose middle is the root",
    }


def test_augmentation_is_what_another_camera_would_see():
    """Turned, scaled and mirrored pixels with the depth beside them are the projection of turned, mirrored joints."""
    points = standing()
    record = records_of(read(content([[annotation(1, 1, points)]]))[0], "images")[0]
    people = read_people(record, plain_rules(17), depth=True)
    degrees, scale = 25.0, 1.7
    transform = aug.letterbox(*SIZE, 128, scale=scale, degrees=degrees, mirror=True)
    moved = onto_canvas(people, transform, COCO.flip_index)
    root = ROOT @ points
    factor = 128 / 96 * scale
    assert moved.extra["pixel_size"][0] == pytest.approx(root[2] / 120 / factor)
    # In the world: mirrored, left and right swapped, then turned about the line of sight.
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    world = ((points - root) * [-1, 1, 1] @ turn.T)[COCO.flip_index]
    assert np.allclose(moved.extra["depth"][0] * moved.extra["pixel_size"][0], world[:, 2])
    # x and y follow from the pixels, with the perspective of a joint that is nearer or farther than the root.
    labelled = moved.keypoints[0, :, 2] > 0
    centre = np.array([64.0, 64.0]) + transform.matrix[:2, :2] @ (np.array(CAMERA.principal_point) - [48, 40])
    ray = (moved.keypoints[0, :, :2] - centre) / (120 * factor)
    depth = root[2] + world[:, 2]
    place = np.column_stack([ray * depth[:, None], depth])
    middle = (root * [-1, 1, 1]) @ turn.T
    assert labelled.any() and np.allclose((place - middle)[labelled], world[labelled], atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"MOSAIC_PROB": 1.0}, {"COPY_PASTE_PROB": 1.0}])
def test_samples_have_depth_where_the_config_asks_for_it(tmp_path, options):
    groups = []
    for i in range(4):
        one = annotation(i + 1, i + 1, standing(i))
        x, y, w, h = one["bbox"]
        one["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        one["area"] = w * h
        groups.append([one])
    path, folder = write_set(str(tmp_path), content(groups))
    keys = {f"INPUT__POSE__{key}": value for key, value in options.items()}
    for enabled in (False, True):
        cfg = make_config(
            DATASETS__KEYPOINT_FILES=[["space", path, folder]], DATASETS__TRAIN=("space",), DATASETS__TEST=("space",),
            INPUT__POSE__SIZE=96, INPUT__POSE__SCALE=[0.6, 1.4], INPUT__POSE__ROTATE=20.0,
            MODEL__RLE_ONESTAGE__DEPTH__ENABLED=enabled, **keys,
        )  # fmt: skip
        mapper = PoseMapper(cfg, True)
        records = load_dataset(cfg, "space")
        others = records[1:] if "MOSAIC_PROB" in options else ()
        for seed in range(4):
            sample = mapper(records[0], np.random.default_rng(seed), others)
            people = sample["instances"]
            assert people.has("gt_depth") == people.has("gt_pixel_size") == enabled
            if enabled and len(people):
                height = people.gt_keypoints.tensor[..., 1].amax(1) * people.gt_pixel_size
                assert people.gt_depth.isfinite().all() and (people.gt_pixel_size > 0).all() and (height > 0).all()
                spread = (people.gt_depth * people.gt_pixel_size[:, None]).std(1)
                assert ((spread > 50) & (spread < 400)).all()  # millimetres, whatever the image's scale
    test = PoseMapper(cfg, False)(records[0])
    assert test["camera"] == CAMERA
