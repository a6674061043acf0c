"""From a scene to an image and its labels."""

from typing import TYPE_CHECKING

import cv2
import numpy as np

from . import body
from .effects import apply_effects
from .figure import Figure
from .labels import person_annotation
from .raster import Cover, Frame, draw_polygons, draw_quadrics
from .seeds import stream
from .shading import shade

if TYPE_CHECKING:
    from synthetic_people.camera import Camera
    from synthetic_people.scene import Scene


_BONES = np.array([(a, b) for a, b in body.LIMBS if a >= 5 and b >= 5])


def render(scene: "Scene", noise_rng: np.random.Generator, supersampling: int = 2) -> tuple:
    """(image (H, W, 3) uint8 BGR, list with an annotation or None for each person)."""
    camera = scene.camera
    frame = Frame.empty(camera, supersampling)
    covers = []
    for k, person in enumerate(scene.people):
        seed, split, number, place = person.seed
        rng = stream(seed, split, number, "outfit", place + 1000)
        quadrics = Figure(person.posed, person.outfit, scene.materials, k, rng).build()
        cover = Cover(np.zeros(frame.depth.shape, bool))
        draw_quadrics(frame, camera, quadrics, cover)
        covers.append(cover)
    draw_quadrics(frame, camera, scene.objects.quadrics)
    draw_polygons(frame, camera, scene.objects.polygons)
    image = compose(scene, frame)
    annotations = [
        person_annotation(frame=frame, camera=camera, posed=p.posed, person=k, cover=covers[k])
        for k, p in enumerate(scene.people)
    ]
    return apply_effects(image, scene.effects, noise_rng), annotations


def compose(scene: "Scene", frame: "Frame") -> np.ndarray:
    """Shaded people and objects over the background with their shadows, (H, W, 3) float32."""
    camera = scene.camera
    colours, flat = shade(frame, camera, scene.light, scene.materials)
    layer = np.zeros((*frame.depth.shape, 4), np.float32)
    values = layer.reshape(-1, 4)
    values[flat, :3] = colours
    values[flat, 3] = 1
    if frame.scale > 1:
        layer = cv2.resize(layer, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    image, ground = scene.background.render(camera)
    brightness = (0.5 * scene.light.colour + scene.light.ambient).astype(np.float32)
    image *= np.clip(brightness, 0.6, 1.1)
    shadow = cast_shadow(scene)
    image *= (1 - shadow * np.where(ground, 1.0, 0.0).astype(np.float32))[..., None]
    image *= 1 - layer[..., 3:]
    image += layer[..., :3]
    return image


def cast_shadow(scene: "Scene") -> np.ndarray:
    """How much light the people take from the ground, (H, W) float32: bones projected along the light, and feet's
    contact."""
    camera, light = scene.camera, scene.light
    shadow = np.zeros((camera.height, camera.width), np.float32)
    direction = light.direction.copy()
    direction[1] = max(direction[1], 0.35)
    strength = float(np.clip(light.colour.mean() / (light.colour.mean() + light.ambient.mean()), 0.2, 0.6))
    strokes, radii, weights = [], [], []
    for person in scene.people:
        joints = person.posed.joints
        head = 2 * joints[0] - joints[[5, 6]].mean(0)
        ends = np.concatenate(
            [joints[_BONES], np.stack([joints[[5, 6]].mean(0), 0.3 * joints[[5, 6]].mean(0) + 0.7 * head])[None]]
        )
        strokes.append(ends - direction * (ends[..., 1:2] / direction[1]))
        radii += [0.065] * len(_BONES) + [0.09]
        weights += [strength] * len(ends)
        feet = joints[[15, 16]]
        feet = feet[feet[:, 1] < 0.3 * person.posed.shape.height / 1.7] * (1, 0, 1)
        strokes.append(np.stack([feet, feet + (0.01, 0, 0)], 1))
        radii += [0.13] * len(feet)
        weights += [min(strength + 0.15, 0.7)] * len(feet)
    if strokes:
        _draw_strokes(shadow, camera, np.concatenate(strokes), radii, weights)
    return cv2.GaussianBlur(shadow, (0, 0), max(camera.height / 150, 0.8))


def _draw_strokes(
    shadow: np.ndarray, camera: "Camera", ends: np.ndarray, radii: list[float], weights: list[float]
) -> None:
    """Thick lines between pairs of points of the ground, ends (n, 2, 3)."""
    pixels, depth = camera.project(ends)
    drawable = (depth.min(1) > 0.3) & (np.abs(pixels).max((1, 2)) < 4000)
    places = np.round(pixels * 8).astype(int).tolist()
    widths = (
        np.round(1.4 * np.array(radii) * camera.focal / np.maximum(depth.mean(1), 0.3))
        .astype(int)
        .clip(1, 200)
        .tolist()
    )
    for i in np.flatnonzero(drawable):
        cv2.line(shadow, places[i][0], places[i][1], weights[i], widths[i], cv2.LINE_8, 3)
