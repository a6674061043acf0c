"""Tiny pictures and videos, and what stands for a predictor."""

import contextlib
import resource

import av
import cv2
import numpy as np
import torch
from detectron2.structures import Boxes, Instances

from rle_onestage.predictor import Category
from rle_onestage.structures.skeleton import COCO
from rle_onestage.video.io import VideoReader, VideoWriter


def one_person(image):
    """Stands for a predictor: a person in the middle, and one with a low score."""
    height, width = image.shape[:2]
    people = Instances((height, width))
    people.pred_boxes = Boxes(torch.tensor([[5.0, 5.0, width - 5, height - 5]]).repeat(2, 1))
    people.scores = torch.tensor([0.9, 0.1])
    points = torch.rand(17, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([width, height])
    people.pred_keypoints = torch.cat([points, torch.ones(17, 1)], 1).repeat(2, 1, 1)
    people.pred_keypoint_sigmas = torch.ones(2, 17, 2)
    return people


one_person.skeleton, one_person.category = COCO, Category()


def image_file(path, size=(64, 48)):
    """Write a grey picture; gives its path."""
    cv2.imwrite(str(path), np.full((size[1], size[0], 3), 90, np.uint8))
    return str(path)


def grey(number, size=(64, 48)):
    """A frame whose brightness tells its number, below 25."""
    return np.full((size[1], size[0], 3), 10 * number, np.uint8)


def noise(number, size=(64, 48)):
    """A frame that compresses badly."""
    return np.random.default_rng(number).integers(0, 255, (size[1], size[0], 3), np.uint8)


def video(path, frames=6, size=(64, 48), times=None, fps=12.0, image=grey):
    """Write a video with the package; gives its path."""
    with VideoWriter(str(path), fps, size) as writer:
        for i in range(frames):
            writer.write(image(i, size), None if times is None else times[i])
    return str(path)


def encode(path, frames=12, size=(64, 48), image=grey, sound=None, turn=0, seconds=1.0, **options):
    """Write a video with PyAV alone: 12 frames a second, key frames every 4; ``sound``: encoder of a tone of 440 Hz."""
    av.logging.set_level(None)
    with av.open(str(path), "w", **options) as container:
        pictures = container.add_stream("libx264", rate=12, options={"g": "4", "bf": "0"})
        pictures.width, pictures.height, pictures.pix_fmt = *size, "yuv420p"
        if turn:
            pictures.set_display_rotation(turn)
        tone = container.add_stream(sound, rate=48000, layout="mono") if sound else None
        for i in range(frames):
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(image(i, size), "bgr24")))
        container.mux(pictures.encode(None))
        if tone:
            wave = np.sin(2 * np.pi * 440 / 48000 * np.arange(int(48000 * seconds))).astype(np.float32)
            for start in range(0, len(wave), 1024):
                block = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], "fltp", "mono")
                block.sample_rate, block.pts = 48000, start
                container.mux(tone.encode(block))
            container.mux(tone.encode(None))
    return str(path)


def read(path):
    """All frames of a video."""
    with VideoReader(str(path)) as reader:
        return list(reader)


def numbers(frames):
    """Which frame of :func:`grey` each is."""
    return [int(round(frame.image.mean() / 10)) for frame in frames]


@contextlib.contextmanager
def no_more_than(size):
    """No file grows beyond a number of bytes: a disk that becomes full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
