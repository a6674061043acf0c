"""Short videos, and the files of all videos: walkers and runners that cross each other, people who stay on the spot,
and a camera that may drift. The videos for judging trackers are in ``clips``."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from rle_onestage.errors import MediaError

from . import body, poses
from .camera import Camera
from .clips import Clip
from .render import render
from .scene import Person, moved, sample_scene
from .seeds import stream
from .statistics import clip_figures

if TYPE_CHECKING:
    from synthetic_people.body import Posed
    from synthetic_people.scene import Layout
    from synthetic_people.writer import Job


RATE = 25


class Motion:
    """The movement of one person: pose, heading and place at every frame, smooth in time."""

    def __init__(self, rng: np.random.Generator, person: "Person", frames: int, rate: int):
        shape = person.posed.shape
        pelvis = person.posed.points["pelvis"]
        middle = pelvis[[0, 2]]
        kind = rng.choice(["walk", "run", "stay"], p=[0.55, 0.12, 0.33])
        time = np.arange(frames) / rate
        self.shape = shape
        if kind == "stay":
            self.pose = poses.smooth_path(rng, frames, rate)
            self.yaw = np.full(frames, np.pi + rng.normal(0, 0.8)) + 0.25 * np.sin(
                2 * np.pi * (time / rng.uniform(3, 6) + rng.random())
            )
            self.place = np.repeat(middle[None], frames, 0)
            return
        run = float(kind == "run")
        stride = rng.uniform(0.75, 1.15)
        speed = shape.height * stride * (0.62 + 0.55 * run)
        turns = speed / (shape.height * stride * (0.78 + 0.45 * run))
        self.yaw = np.full(frames, rng.choice([-1, 1]) * np.pi / 2 + rng.normal(0, 0.35))
        self.yaw = self.yaw + rng.normal(0, 0.2) * np.sin(2 * np.pi * time / max(time[-1] * 2, 1e-6))
        noise = rng.normal(0, 1, len(body.DOF)).clip(-2, 2) * poses.NOISE * 0.45
        self.pose = body.within_limits(poses.gait(rng.random() + turns * time, stride, run) + noise)
        heading = np.stack([np.sin(self.yaw), np.cos(self.yaw)], 1)
        path = np.cumsum(heading * speed / rate, 0)
        self.place = middle + path - path[int(frames * rng.uniform(0.3, 0.7))]

    def at(self, frame: int) -> "Posed":
        """The posed body of one frame, feet on the ground."""
        posed = body.forward_kinematics(self.shape, self.pose[frame], self.yaw[frame])
        place = self.place[frame]
        return moved(posed, np.array([place[0], -body.lowest_point(posed), place[1]]))


def moving_camera(rng: np.random.Generator, camera: "Camera", frames: int) -> "list[Camera]":
    """A camera for each frame: still, or slowly turning and gliding."""
    if rng.random() < 0.5:
        return [camera] * frames
    part = 0.5 - 0.5 * np.cos(np.pi * np.linspace(0, 1, frames))
    forward = camera.rotation[2]
    yaw, pitch = np.arctan2(forward[0], forward[2]), -np.arcsin(forward[1])
    turn, glide = rng.normal(0, 0.06), rng.normal(0, 0.2, 3) * (1, 0.3, 0.5)
    fov = 2 * np.arctan(camera.height / 2 / camera.focal)
    return [
        Camera.looking(
            position=camera.position + glide * p,
            yaw=yaw + turn * p,
            pitch=pitch,
            roll=0.0,
            fov=fov,
            width=camera.width,
            height=camera.height,
        )
        for p in part
    ]


def video_frames(
    seed: int, number: int, size: tuple[int, int], layout: "Layout", frames: int, rate: int = RATE
) -> "Iterator[tuple[np.ndarray, list[dict], Camera]]":
    """Yield (image, annotations by person or None, camera) for each frame of one video."""
    scene = sample_scene(seed, "videos", number, size, layout)
    scene.objects.quadrics, scene.objects.polygons = type(scene.objects.quadrics)(), type(scene.objects.polygons)()
    rng = stream(seed, "videos", number, "objects", 1)
    depths = [float(scene.camera.to_camera(p.posed.points["pelvis"])[2]) for p in scene.people]
    scene.objects.scatter(
        rng, scene.camera, max(depths) + 0.8, scene.background.distance - 0.5, [], front=min(depths) * 0.9
    )
    scene.effects.update(motion=0.0, defocus=min(scene.effects["defocus"], 0.6))
    people, outfits = scene.people, len(scene.materials.rows)
    motions = [Motion(stream(seed, "videos", number, "motion", k), p, frames, rate) for k, p in enumerate(people)]
    cameras = moving_camera(stream(seed, "videos", number, "motion", 1000), scene.camera, frames)
    for frame in range(frames):
        del scene.materials.rows[outfits:], scene.materials.faces[:]
        scene.people = [Person(m.at(frame), p.outfit, p.family, p.seed) for m, p in zip(motions, people)]
        scene.camera = cameras[frame]
        yield (*render(scene, stream(seed, "videos", number, "effects", 1 + frame)), scene.camera)


def _frames_of(job: "Job", size: tuple[int, int]) -> tuple:
    """(more about the video, iterator of (image, people, camera, more about the frame)) in the job's style."""
    if job.video_style == "tracking":
        clip = Clip(seed=job.seed, number=job.number, size=size, layout=job.layout, frames=job.frames, rate=RATE)
        return clip.about(), clip.render(job.supersampling)
    layout = replace(job.layout, people=(max(job.layout.people[0], 2), max(job.layout.people[1], 2)), close_up=0.0)
    frames = video_frames(job.seed, job.number, size, layout, job.frames)
    return {}, ((*each, {}) for each in frames)


def write_video(job: "Job") -> dict[str, float] | None:
    """Write one video and its labels; the labels are COCO's with ``track_id`` and ``frame_index``. Returns
    figures of a clip for tracking (:func:`.statistics.clip_figures`), else None."""
    name = f"{job.number + 1:06d}"
    path = os.path.join(job.folder, "videos", f"{name}.mp4")
    size = (job.size, int(round(job.size * 0.75 / 16)) * 16) if isinstance(job.size, int) else job.size
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"mp4v"), RATE, size)
    if not writer.isOpened():
        raise MediaError(
            f"{path}: this OpenCV cannot write MP4 video; install opencv-python-headless, or use --videos 0"
        )
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    about, stream_of_frames = _frames_of(job, size)
    for frame, (image, people, camera, more) in enumerate(stream_of_frames):
        writer.write(image)
        images.append(
            {
                "id": frame + 1,
                "frame_index": frame,
                "video_id": job.number + 1,
                "file_name": f"{name}.mp4",
                "width": image.shape[1],
                "height": image.shape[0],
                "camera": camera.as_dict(),
                **more,
            }
        )
        for track, person in enumerate(people):
            if person is not None:
                annotations.append({"id": len(annotations) + 1, "image_id": frame + 1, "track_id": track + 1, **person})
    writer.release()
    data = {
        "info": job.info,
        "videos": [{"id": job.number + 1, "file_name": f"{name}.mp4", "rate": RATE, "frames": job.frames, **about}],
        "images": images,
        "annotations": annotations,
        "categories": job.categories,
    }
    with open(os.path.join(job.folder, "annotations", "videos", f"{name}.json"), "w") as file:
        json.dump(data, file)
    return clip_figures(data) if job.video_style == "tracking" else None
