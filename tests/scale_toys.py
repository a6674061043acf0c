"""What the tests of prediction at scale share: a model that takes no time, inputs of each kind, and their rows."""

import contextlib
import io
import struct
import tarfile
import zlib

import cv2
import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

from rle_onestage.evaluation.people_parquet import read_parts
from rle_onestage.predictor import Category
from rle_onestage.scale import job
from rle_onestage.scale import tracks as tracks_module
from rle_onestage.scale import work as work_module
from rle_onestage.scale.models import Version
from rle_onestage.structures.skeleton import COCO


class Toy:
    """Stands for a predictor: one person whose place and score tell the image's brightness; notes its batches."""

    skeleton, category = COCO, Category()

    def __init__(self):
        self.batches = []

    def batch(self, images):
        self.batches.append([image.shape[:2] for image in images])
        return [self.person(image) for image in images]

    def person(self, image):
        height, width = image.shape[:2]
        bright = float(image.mean())
        people = Instances((height, width))
        people.pred_boxes = Boxes(torch.tensor([[bright / 4, 2.0, bright / 4 + 20, 40.0]]))
        people.scores = torch.tensor([0.6 + bright / 1000])
        people.pred_classes = torch.zeros(1, dtype=torch.int64)
        points = torch.stack([torch.full((17,), bright / 4 + 10), torch.linspace(4, 38, 17)], -1)
        people.pred_keypoints = torch.cat([points, torch.ones(17, 1)], 1)[None]
        people.pred_keypoint_sigmas = torch.ones(1, 17, 2)
        return people


def use(monkeypatch, toy):
    """Let jobs run on a toy, whatever model they ask for; models of another name are other models."""
    for module in (job, work_module):
        monkeypatch.setattr(module, "predictor_for", lambda choice, threads=None: toy)

    def version_of(choice, package, cfg=None):
        return Version(f"{package}+{choice.name}", package, choice.name, choice.name, {})

    monkeypatch.setattr(job, "version_of", version_of)
    return toy


def png(number, size=(64, 48)):
    """The bytes of a grey image, whose brightness is its number."""
    return cv2.imencode(".png", np.full((size[1], size[0], 3), number, np.uint8))[1].tobytes()


def huge_png():
    """A small file that declares 30,000 x 30,000 pixels."""
    header = struct.pack(">2I5B", 30000, 30000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    parts = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def folder_of(path, numbers, size=(64, 48)):
    """A folder of images named by their numbers."""
    path.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (path / f"{number:06d}.png").write_bytes(png(number, size))
    return str(path)


def shard_of(path, members):
    """A tar shard of (name, bytes)."""
    with tarfile.open(path, "w") as shard:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            shard.addfile(info, io.BytesIO(data))
    return str(path)


def rows_in(output):
    """All rows of an output, as dictionaries, in order."""
    return [row for table, _ in read_parts(output) for row in table.to_pylist()]


def brightness(row):
    """The number of the image that a row's person tells of; None with an error."""
    return None if row["people"] is None else round(4 * row["people"][0]["box"][0])


@contextlib.contextmanager
def killed_while_tracking(number=3):
    """Within it a job is interrupted when it writes that many files of tracks, as by Ctrl-C."""
    write, calls = tracks_module.write_part, []

    def dying(*args):
        calls.append(1)
        if len(calls) == number:
            raise KeyboardInterrupt
        return write(*args)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tracks_module, "write_part", dying)
        yield
