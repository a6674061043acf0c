"""Clips on which trackers of several people can be judged: who, in which clothes, among what, seen by which camera."""

from dataclasses import replace

import numpy as np

from . import body
from .actions import Performance, soften
from .background import Background
from .camera import Camera
from .effects import sample_effects
from .motion import Crowd, Field
from .objects import Objects
from .outfit import Materials, Outfit
from .render import render
from .scene import Person, Scene, image_size, sample_camera
from .seeds import stream
from .shading import Light

CAMERAS = ("still", "glide", "hand", "glide and hand")
GOLDEN = 0.6180339887
INSIDE = 8  # joints in the image from which on somebody without an annotation is hidden, not outside


def people_of(seed, number, people):
    """How many people a clip has; over the numbers of the clips it is spread evenly from the least to the most."""
    low, high = people
    start = stream(seed, "videos", 0, "layout", 2000).random()
    return low + int((start + GOLDEN * number) % 1.0 * (high - low + 1))


class Clip:
    """One clip: its people's :class:`~.actions.Performance`, cameras for all frames, and the scene around them; a pure
    function of its arguments.

    Args:
        size: (width, height), or the longest side.
        layout: a :class:`~.scene.Layout`; of it ``people`` and ``share`` (a standing person's height at the front).
        frames, rate: number, and frames a second.
    """

    def __init__(self, *, seed, number, size, layout, frames, rate):
        self.key, self.frames, self.rate = (seed, "videos", number), frames, rate
        rng = stream(*self.key, "layout", 1)
        width, height = image_size(rng, size)
        count = people_of(seed, number, layout.people)
        share = tuple(s * (1.0 if count < 8 else 0.86) for s in layout.share)
        camera, near = sample_camera(rng, replace(layout, close_up=0.0, share=share), count, width, height)
        self.ground = Field(camera, near, max(near * rng.uniform(1.8, 2.3), near + 3.0))
        self.camera_motion = CAMERAS[(number + int(stream(seed, "videos", 0, "layout", 2001).integers(4))) % 4]
        self.cameras = moving_camera(stream(*self.key, "motion", 2000), camera, self.camera_motion, frames, rate)
        shapes = [body.BodyShape.sample(stream(*self.key, "body", k)) for k in range(count)]
        self.scene = self._around(camera, *self._clothes(shapes))
        obstacles = self._hiding_places(stream(*self.key, "objects", 2000))
        crowd = Crowd(rng=stream(*self.key, "motion", 2001), ground=self.ground, count=count, obstacles=obstacles)
        self.people = [
            Performance(stream(*self.key, "motion", k), shape, path, rate)
            for k, (shape, path) in enumerate(zip(shapes, crowd.walk(frames, rate)))
        ]

    def _clothes(self, shapes):
        """(an outfit for each, share of people who wear the first one's clothes): none, some, or nearly all."""
        rng = stream(*self.key, "outfit", 2000)
        outfits = [Outfit.sample(stream(*self.key, "outfit", k), shape) for k, shape in enumerate(shapes)]
        share = float(rng.choice([0.0, 0.45, 0.9], p=[0.35, 0.4, 0.25]))
        same = ("top", "bottom", "shoes", "extra", "sleeve", "leg", "jacket", "untucked")
        for k in range(1, len(outfits)):
            if rng.random() < share:
                names = same + (("hair", "skin", "hair_style") if rng.random() < 0.4 else ())
                outfits[k] = replace(outfits[k], skirt=0.0, **{name: getattr(outfits[0], name) for name in names})
        return outfits, share

    def _around(self, camera, outfits, share):
        """The scene without people; of them only the clothes."""
        self.outfits, self.similar_clothes = outfits, share
        materials = Materials()
        background = Background(stream(*self.key, "background"), self.ground.far + 1.5)
        objects = Objects(materials)
        objects.scatter(stream(*self.key, "objects", 1), camera, self.ground.far + 0.8, background.distance - 0.5, [],
                        hiding=0.0)  # fmt: skip
        effects = sample_effects(stream(*self.key, "effects"))
        effects.update(motion=0.0, defocus=min(effects["defocus"], 0.35))
        return Scene(camera, Light.sample(stream(*self.key, "layout", 2)), [], objects, materials, background, effects)

    def _hiding_places(self, rng):
        """Put pillars, pieces of wall and signs in front of and among the walkers; (n, 3) x, z, radius."""
        ground, out = self.ground, []
        slots = rng.permutation(3)[: int(rng.choice([1, 2, 3], p=[0.4, 0.45, 0.15]))]
        for slot in slots:
            depth = ground.near * (rng.uniform(0.7, 0.92) if rng.random() < 0.6 else rng.uniform(1.1, 1.5))
            at = ground.point(rng.uniform(0.12, 0.34) + 0.26 * slot, depth)
            kind = str(rng.choice(["pillar", "panel", "sign"], p=[0.4, 0.35, 0.25]))
            # At this width in the image a walk behind it takes from a few frames to a second and a half.
            half = rng.uniform(0.22, 0.36) if kind == "pillar" else rng.uniform(0.3, 0.48)
            half *= min(depth / ground.near, 1.0) * ground.width(ground.near) / 5.0
            getattr(self.scene.objects, kind)(rng, at, half)
            out.append((*at, half))
        return out

    def about(self):
        """What the annotation file says of the clip."""
        return {"camera_motion": self.camera_motion, "similar_clothes": self.similar_clothes}

    def render(self, supersampling=2):
        """Yield (image, annotation or None by person, camera, more about the frame) for each frame: ``time`` in
        seconds, and ``hidden``, the tracks that are in the image and have no annotation."""
        outfits = len(self.scene.materials.rows)
        for frame in range(self.frames):
            del self.scene.materials.rows[outfits:], self.scene.materials.faces[:]
            posed = [p.at(frame) for p in self.people]
            self.scene.people = [
                Person(p, o, "clip", (*self.key, k)) for k, (p, o) in enumerate(zip(posed, self.outfits))
            ]
            self.scene.camera = camera = self.cameras[frame]
            image, people = render(self.scene, stream(*self.key, "effects", 1 + frame), supersampling)
            hidden = [k + 1 for k, p in enumerate(posed) if people[k] is None and in_image(p.joints, camera)]
            yield image, people, camera, {"time": round(frame / self.rate, 4), "hidden": hidden}


def in_image(joints, camera):
    """Whether at least ``INSIDE`` of the joints (17, 3) are within the image, hidden or not."""
    pixels, depth = camera.project(joints)
    return int(((pixels >= 0) & (pixels < (camera.width, camera.height)) & (depth[:, None] > 0)).all(1).sum()) >= INSIDE


def moving_camera(rng, camera, kind, frames, rate):
    """A camera for each frame, of a kind in ``CAMERAS``: it turns to and fro and glides, shakes in a hand, or both."""
    time = np.arange(frames) / rate
    yaw, pitch, roll, place = np.zeros(frames), np.zeros(frames), np.zeros(frames), np.zeros((frames, 3))
    if "glide" in kind:
        wave = np.sin(2 * np.pi * (time[:, None] / rng.uniform(5, 10, 3) + rng.random(3)))
        yaw += rng.uniform(0.07, 0.16) * wave[:, 0]
        place += wave[:, 1:2] * (rng.normal(0, 0.35), rng.normal(0, 0.06), 0)
        place += wave[:, 2:] * (0, 0, rng.normal(0, 0.25))
    if "hand" in kind:
        strength = rng.uniform(0.6, 1.3)
        for angle, amount in ((yaw, 0.016), (pitch, 0.012), (roll, 0.010)):
            angle += strength * (amount * _shake(rng, frames, 0.45 * rate) + 0.003 * _shake(rng, frames, 0.08 * rate))
        place += 0.025 * strength * np.stack([_shake(rng, frames, 0.4 * rate) for _ in range(3)], 1)
    forward = camera.rotation[2]
    level = np.cross(forward, (0.0, 1.0, 0.0))
    level /= np.linalg.norm(level)
    at = dict(yaw=np.arctan2(forward[0], forward[2]), pitch=-np.arcsin(forward[1]),
              roll=np.arctan2(camera.rotation[0] @ np.cross(forward, level), camera.rotation[0] @ level))  # fmt: skip
    fov = 2 * np.arctan(camera.height / 2 / camera.focal)
    return [
        Camera.looking(position=camera.position + place[f], yaw=at["yaw"] + yaw[f], pitch=at["pitch"] + pitch[f],
                       roll=at["roll"] + roll[f], fov=fov, width=camera.width, height=camera.height)
        for f in range(frames)
    ]  # fmt: skip


def _shake(rng, frames, sigma):
    """(F,) smooth noise of standard deviation 1 whose features last about ``sigma`` frames."""
    spare = int(4 * sigma) + 1
    noise = soften(rng.normal(0, 1, frames + 2 * spare), sigma)
    return noise[spare : spare + frames] * np.sqrt(2 * np.sqrt(np.pi) * sigma)
