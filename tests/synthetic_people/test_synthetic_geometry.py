"""Bodies, camera and ray casting of the synthetic people, against hand computation and brute force."""

import numpy as np
import pytest
from synthetic_people import body, poses
from synthetic_people.camera import Camera
from synthetic_people.primitives import Polygons, Quadrics
from synthetic_people.raster import Cover, Frame, draw_polygons, draw_quadrics


def straight_camera(width=96, height=80, focal=100.0):
    """At the origin, looking along +z; x to the right is world -x."""
    return Camera(np.array([[-1.0, 0, 0], [0, -1, 0], [0, 0, 1]]), np.zeros(3), focal, width, height)


def average_body():
    return body.BodyShape(
        height=1.8,
        woman=0.0,
        child=0.0,
        girth=1.0,
        shoulder=0.1,
        hip=0.05,
        leg=1.0,
        arm=1.0,
        head=1.0,
        neck=1.0,
        muscle=0.5,
    )


def test_projection_of_a_known_body():
    """A body at attention 5 m away, facing the camera; pixels computed by hand from the segment lengths."""
    posed = body.forward_kinematics(average_body(), np.zeros(len(body.DOF)), yaw=np.pi, position=(0.0, 1.0, 5.0))
    camera = Camera.looking(position=(0, 1.0, 0), yaw=0, pitch=0, roll=0, fov=2 * np.arctan(0.5), width=400, height=200)
    pixels, depth = camera.project(posed.joints)
    assert camera.focal == pytest.approx(200)
    left_hip, right_hip, left_ankle = (body.JOINTS.index(n) for n in ("left_hip", "right_hip", "left_ankle"))
    assert pixels[left_hip] == pytest.approx([200 + 200 * 0.09 / 5, 100])  # their left is on our right
    assert pixels[right_hip] == pytest.approx([200 - 200 * 0.09 / 5, 100])
    assert pixels[left_ankle] == pytest.approx([203.6, 100 + 200 * (0.245 + 0.240) * 1.8 / 5])
    assert depth[left_hip] == pytest.approx(5)
    assert depth[body.JOINTS.index("nose")] < 5 < depth[body.JOINTS.index("left_ear")] + 0.1
    shoulders = posed.joints[[5, 6]]
    assert np.linalg.norm(shoulders[0] - shoulders[1]) == pytest.approx(2 * 0.1 * 1.8)


def test_arm_raised_to_the_front_and_to_the_side():
    pose = np.zeros(len(body.DOF))
    pose[body.INDEX["left_shoulder_flex"]] = 90
    pose[body.INDEX["right_shoulder_abd"]] = 90
    pose[body.INDEX["right_elbow"]] = 90
    posed = body.forward_kinematics(average_body(), pose)
    p = posed.points
    upper, lower = 0.168 * 1.8, 0.145 * 1.8
    assert p["left_elbow"] - p["left_shoulder"] == pytest.approx([0, 0, upper], abs=1e-9)
    assert p["right_elbow"] - p["right_shoulder"] == pytest.approx([-upper, 0, 0], abs=1e-9)
    assert p["right_wrist"] - p["right_elbow"] == pytest.approx([0, 0, lower], abs=1e-9)


@pytest.mark.parametrize("family", list(poses.FAMILIES))
def test_poses_keep_the_joint_limits(family):
    rng = np.random.default_rng(0)
    for _ in range(30):
        name, pose = poses.sample_pose(rng, family)
        assert name == family
        assert (pose >= body.LIMITS[:, 0]).all() and (pose <= body.LIMITS[:, 1]).all()


def test_mirrored_pose_is_the_mirror_image():
    rng = np.random.default_rng(1)
    _, pose = poses.sample_pose(rng)
    shape = average_body()
    one = body.forward_kinematics(shape, pose).joints
    other = body.forward_kinematics(shape, body.mirrored(pose)).joints
    swap = [
        body.JOINTS.index(n.replace("left", "#").replace("right", "left").replace("#", "right")) for n in body.JOINTS
    ]
    assert other[swap] * (-1, 1, 1) == pytest.approx(one, abs=1e-9)


def test_bone_lengths_do_not_depend_on_the_pose():
    rng = np.random.default_rng(2)
    shape = body.BodyShape.sample(rng)
    lengths = []
    for _ in range(5):
        joints = body.forward_kinematics(shape, poses.sample_pose(rng)[1], rng.uniform(-3, 3)).joints
        lengths.append(
            [np.linalg.norm(joints[a] - joints[b]) for a, b in ((5, 7), (7, 9), (11, 13), (13, 15), (11, 12), (1, 2))]
        )
    assert np.ptp(lengths, axis=0) == pytest.approx(0, abs=1e-9)


def march(inside, x, y, far=6.0, steps=6000):
    """First depth at which a point of the ray is inside a solid, by brute force, or inf."""
    t = np.linspace(0.2, far, steps)
    hit = np.flatnonzero(inside(np.stack([x * t, y * t, t], 1)))
    return t[hit[0]] if len(hit) else np.inf


def solid_quadrics(quadrics):
    """Membership in camera space of :func:`straight_camera`, for solids whose clip never opens them to the view."""
    flip = np.array([-1.0, -1.0, 1.0])

    def inside(points):
        out = np.zeros(len(points), bool)
        for centre, basis, (a, az, bz, c), clip in zip(quadrics.centre, quadrics.basis, quadrics.form, quadrics.clip):
            local = (points * flip - centre) @ np.linalg.inv(basis).T
            value = a * (local[:, 0] ** 2 + local[:, 1] ** 2) + az * local[:, 2] ** 2 + 2 * bz * local[:, 2] + c
            out |= (value <= 0) & (np.abs(local @ np.array(clip[:3]) + clip[3]) < 1)
        return out

    return inside


def capsule(quadrics, start, end, r0, r1, owner=0):
    start, end = np.asarray(start, float), np.asarray(end, float)
    quadrics.cone(start, end, r0, r1, np.array([1.0, 0.2, 0.1]), 0, owner)
    quadrics.ellipsoid(start, np.eye(3), np.full(3, r0), 0, owner)
    quadrics.ellipsoid(end, np.eye(3), np.full(3, r1), 0, owner)


def test_depth_equals_brute_force():
    """Capsules (one points at the camera) and a turned ellipsoid: depth and outline against marching along each ray."""
    camera = straight_camera()
    quadrics = Quadrics()
    capsule(quadrics, (-0.5, 0.3, 3.0), (0.6, -0.4, 3.6), 0.30, 0.12)
    capsule(quadrics, (0.5, 0.5, 2.0), (0.75, 0.8, 4.0), 0.12, 0.25)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    quadrics.ellipsoid(np.array([0.3, -0.6, 2.5]), turn, np.array([0.5, 0.1, 0.3]), 0, 0)
    frame, cover = Frame.empty(camera, 1), Cover(np.zeros((80, 96), bool))
    draw_quadrics(frame, camera, quadrics, cover)
    assert (cover.mask == np.isfinite(frame.depth)).all()
    x0, y0, x1, y1 = cover.box
    assert (
        not cover.mask[:, :x0].any()
        and not cover.mask[:, x1:].any()
        and not cover.mask[:y0].any()
        and not cover.mask[y1:].any()
    )
    inside = solid_quadrics(quadrics)
    wrong = 0
    rng = np.random.default_rng(1)
    for _ in range(300):
        row, column = rng.integers(80), rng.integers(96)
        expected = march(inside, frame.x[column], frame.y[row])
        got = frame.depth[row, column]
        if np.isfinite(expected) != np.isfinite(got):
            wrong += 1  # rays that graze an outline
        elif np.isfinite(got):
            assert got == pytest.approx(expected, abs=3e-3)
    assert wrong <= 3


def test_polygon_depth_is_exact_and_hides_what_is_behind():
    camera = straight_camera()
    polygons = Polygons()
    polygons.polygon(np.array([[-1.0, -1, 2.0], [1, -1, 3.0], [1, 1, 3.0], [-1, 1, 2.0]]), 0, 5)
    quadrics = Quadrics()
    quadrics.ellipsoid(np.array([0.0, 0, 3.2]), np.eye(3), np.full(3, 0.3), 0, 0)
    quadrics.ellipsoid(np.array([0.3, 0, 1.5]), np.eye(3), np.full(3, 0.1), 0, 1)
    frame = Frame.empty(camera, 1)
    draw_quadrics(frame, camera, quadrics)
    draw_polygons(frame, camera, polygons)
    owner = frame.owner_of(frame.index)
    assert set(np.unique(owner)) == {-1, 1, 5}
    row, column = 20, 48
    x = -frame.x[column]  # the camera's right is world -x; the plane is z = 2.5 + x / 2
    assert owner[row, column] == 5
    assert frame.depth[row, column] == pytest.approx(2.5 / (1 - x / 2), rel=1e-5)
