"""Models that are asked: ours in this process, MoveNet in an environment of its own."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import torch
from detectron2.config import CfgNode

from rle_onestage import Predictor, load_config
from rle_onestage.errors import ConfigError, DataError, MediaError
from rle_onestage.evaluation import instances_to_coco, write_json
from rle_onestage.utils.images import read_image

from .labels import LabelledSet
from .likelihood import people_nats, write_nats

SERVER = str(Path(__file__).resolve().parents[1] / "movenet_server.py")


def config_at(config_file: str, side: int, options: Sequence = ()) -> CfgNode:
    """A config that runs with the longer side of the input at ``side`` pixels.

    Raises:
        ConfigError: see :func:`rle_onestage.load_config`.
    """
    sized = ["INPUT.POSE.SIZE", side, "INPUT.MIN_SIZE_TEST", side, "INPUT.MAX_SIZE_TEST", side]
    return load_config(config_file, [*options, *sized])


class Ours:
    """A model of this project at one side, as the predictor runs it: float32, batch norms fused.

    Args:
        config_file: its config.
        side: longer side of the input, pixels.
        weights: a checkpoint; None takes the config's.
        options: ``[KEY, VALUE, ...]``.
        threads: of torch and OpenCV; None leaves them.
    """

    def __init__(
        self,
        config_file: str,
        side: int,
        *,
        weights: str | None = None,
        options: Sequence = (),
        threads: int | None = None,
    ):
        if threads:
            torch.set_num_threads(threads)
            cv2.setNumThreads(threads)
        self.predictor = Predictor(config_at(config_file, side, options), weights)

    def results(self, labelled: LabelledSet) -> list[dict]:
        """COCO results of all images of a set.

        Raises:
            DataError: the set has no folder or other joints, or an image cannot be read.
        """
        folder = labelled.image_folder
        joints = self.predictor.skeleton.num_joints
        if joints != labelled.truth.num_joints:
            raise DataError(f"the model has {joints} joints but {labelled.truth.source} {labelled.truth.num_joints}")
        rows = []
        for image_id, image in labelled.truth.images.items():
            people = self.predictor(read_image(os.path.join(folder, image["file_name"])))
            rows += instances_to_coco(people, image_id, labelled.truth.category_id)
        return rows

    def write(self, labelled: LabelledSet, path: str) -> list[dict]:
        """Write :meth:`results` and return them; beside it the likelihood of the labels, where there are any."""
        rows = self.results(labelled)
        if labelled.truth.by_image():
            write_nats(path, people_nats(labelled, rows, self.predictor.error_density.to("cpu")))
        write_json(rows, path)
        return rows

    def ask(self, path: str) -> float:
        """Milliseconds from the decoded image to people."""
        image = read_image(path)
        start = time.perf_counter()
        self.predictor(image)
        return 1e3 * (time.perf_counter() - start)


class MoveNet:
    """The peer, by its script and in its own environment.

    Args:
        python: the interpreter of that environment.
        script: ``movenet.py``.
        models: the folder of its weights.
        threads: of its process.
    """

    def __init__(self, python: str, script: str, models: str, *, threads: int = 1):
        for path, what in ((script, "--movenet-script"), (models, "--movenet-models")):
            if not os.path.exists(path):
                raise ConfigError(f"{what} {path} is not there; see the README of projects/people")
        self.python, self.script, self.models, self.threads = python, script, models, threads
        self._environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        self._server: subprocess.Popen[str] | None = None

    def write(self, annotations: str, folder: str, side: int, path: str) -> None:
        """Write COCO results of a set.

        Raises:
            MediaError: the script ends with an error; the message has its last words.
        """
        temporary = f"{path}.part"  # a run that was stopped must not look finished
        command = [self.python, self.script, "score", "--models", self.models, "--annotations", annotations]
        command += ["--images", folder, "--side", str(side), "--output", temporary]
        try:
            done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        except OSError as error:
            raise ConfigError(f"--movenet-python {self.python} cannot be started ({error.strerror})") from error
        # The script scores what it has written; without people or detections it ends there.
        if not os.path.exists(temporary):
            raise MediaError(f"MoveNet could not do {annotations} at {side}: {_last_words(done.stderr)}")
        os.replace(temporary, path)

    def ask(self, path: str, side: int) -> float:
        """Milliseconds from the decoded image to people.

        Raises:
            ConfigError: its process does not start, or ends.
        """
        server = self._server = self._server or self._start()
        assert server.stdin is not None and server.stdout is not None  # for the type checker: both are pipes
        server.stdin.write(f"{side} {os.path.abspath(path)}\n")
        server.stdin.flush()
        line = server.stdout.readline()
        if not line:
            server.wait()
            self._words.seek(0)
            raise ConfigError(f"MoveNet's process ended: {_last_words(self._words.read())}")
        return json.loads(line)["ms"]

    def _start(self) -> "subprocess.Popen[str]":
        self._words = tempfile.TemporaryFile("w+")  # a pipe that nobody reads would fill and stop it
        command = [self.python, SERVER, self.script, self.models, str(self.threads)]
        try:
            return subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._words, text=True,
                env=self._environment,
            )  # fmt: skip
        except OSError as error:
            raise ConfigError(f"--movenet-python {self.python} cannot be started ({error.strerror})") from error

    def close(self) -> None:
        """End its process, if there is one."""
        if self._server is not None:
            self._server.communicate()  # closes its input, which ends it, and its output
            self._words.close()
            self._server = None


def _last_words(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "without a word"


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """``--config-file``, ``--weights`` and ``--opts`` of :class:`Ours`."""
    parser.add_argument("--config-file", required=True, metavar="FILE")
    parser.add_argument("--weights", metavar="FILE", help="default: the config's")
    parser.add_argument("--opts", nargs="*", default=[], metavar="KEY VALUE")


def add_movenet_flags(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """``--movenet-python``, ``--movenet-script``, ``--movenet-models``."""
    group = parser.add_argument_group("the peer, MoveNet MultiPose (see the README)")
    group.add_argument("--movenet-python", default=sys.executable, metavar="FILE", help="of its environment")
    group.add_argument("--movenet-script", required=required, metavar="FILE", help="movenet.py")
    group.add_argument("--movenet-models", required=required, metavar="FOLDER", help="with movenet-multipose.json")
