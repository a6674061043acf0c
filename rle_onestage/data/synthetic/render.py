"""From a scene to a picture and its labels."""

import cv2
import numpy as np

from . import body
from .effects import apply_effects
from .figure import Figure
from .labels import person_annotation
from .raster import Frame, draw_polygons, draw_quadrics
from .seeds import stream
from .shading import shade

_BONES = tuple((a, b) for a, b in body.LIMBS if a >= 5 and b >= 5)


def render(scene, noise_rng, supersampling=2):
    """(picture (H, W, 3) uint8 BGR, list with an annotation or None for each person)."""
    camera = scene.camera
    frame = Frame.empty(camera, supersampling)
    covers = []
    for k, person in enumerate(scene.people):
        rng = stream(*person.seed[:3], "outfit", person.seed[3] + 1000)
        quadrics = Figure(person.posed, person.outfit, scene.materials, k, rng).build()
        cover = np.zeros(frame.depth.shape, bool)
        draw_quadrics(frame, camera, quadrics, cover)
        covers.append(cover)
    draw_quadrics(frame, camera, scene.objects.quadrics)
    draw_polygons(frame, camera, scene.objects.polygons)
    picture = compose(scene, frame)
    owner = frame.owner_map()
    annotations = [
        person_annotation(frame=frame, owner=owner, camera=camera, posed=p.posed, person=k, cover=covers[k])
        for k, p in enumerate(scene.people)
    ]
    return apply_effects(picture, scene.effects, noise_rng), annotations


def compose(scene, frame):
    """Shaded people and objects over the background with their shadows, (H, W, 3) float32."""
    camera = scene.camera
    colours, flat = shade(frame, camera, scene.light, scene.materials)
    layer = np.zeros((*frame.depth.shape, 4), np.float32)
    values = layer.reshape(-1, 4)
    values[flat, :3] = colours
    values[flat, 3] = 1
    if frame.scale > 1:
        layer = cv2.resize(layer, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    picture, ground = scene.background.render(camera)
    brightness = (0.5 * scene.light.colour + scene.light.ambient).astype(np.float32)
    picture *= np.clip(brightness, 0.6, 1.1)
    shadow = cast_shadow(scene)
    picture *= (1 - shadow * np.where(ground, 1.0, 0.0).astype(np.float32))[..., None]
    picture *= 1 - layer[..., 3:]
    picture += layer[..., :3]
    return picture


def cast_shadow(scene):
    """How much light the people take from the ground, (H, W) float32: bones projected along the light, and feet's contact."""
    camera, light = scene.camera, scene.light
    shadow = np.zeros((camera.height, camera.width), np.float32)
    direction = light.direction.copy()
    direction[1] = max(direction[1], 0.35)
    strength = float(np.clip(light.colour.mean() / (light.colour.mean() + light.ambient.mean()), 0.2, 0.6))
    for person in scene.people:
        joints = person.posed.joints
        for a, b in _BONES:
            ends = joints[[a, b]]
            _stroke(shadow, camera, ends - direction * (ends[:, 1:2] / direction[1]), 0.075 if a > 10 and b > 10 else 0.06, strength)
        head = joints[0]
        _stroke(shadow, camera, np.stack([head, joints[[5, 6]].mean(0)]) * (1, 0, 1) - direction * (1, 0, 1) * head[1] / direction[1], 0.1, strength)
        for k in (15, 16):
            if joints[k, 1] < 0.3:
                _stroke(shadow, camera, np.stack([joints[k], joints[k] + (0.01, 0, 0)]) * (1, 0, 1), 0.13, min(strength + 0.15, 0.7))
    return cv2.GaussianBlur(shadow, (0, 0), max(camera.height / 150, 0.8))


def _stroke(shadow, camera, ends, radius, strength):
    pixels, depth = camera.project(ends)
    if depth.min() < 0.3 or np.abs(pixels).max() > 4000:
        return
    width = max(int(round(2 * radius * camera.focal / depth.mean() * 0.7)), 1)
    start, end = (tuple(np.round(p * 8).astype(int).tolist()) for p in pixels)
    cv2.line(shadow, start, end, strength, width, cv2.LINE_8, 3)
