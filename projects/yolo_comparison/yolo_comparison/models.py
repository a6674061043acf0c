"""The two models: ours in this process, the peer in an environment of its own."""

import json
import logging
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.flop_counter import FlopCounterMode

from rle_onestage.data.coco.json_files import read_json
from rle_onestage.engine.models import as_run, build_architecture
from rle_onestage.engine.setup import load_config
from rle_onestage.errors import ConfigError, MediaError
from rle_onestage.evaluation.results import instances_to_coco, write_json
from rle_onestage.predictor import Predictor
from rle_onestage.utils.images import read_image
from yolo_comparison.sets import annotations_file

logger = logging.getLogger("rle_onestage")

PEER_SCRIPT = str(Path(__file__).resolve().parents[1] / "ultralytics_peer.py")


def check_names(*models: Any) -> None:
    """Raises ConfigError unless the first elements of all are different: they name results, files and rows."""
    names = [name for name, *_ in models]
    if len(set(names)) < len(names):
        raise ConfigError(f"--ours and --peers have the names {', '.join(names)}; every name must be different")


class Ours:
    """A model of this project.

    Args:
        name: for the table.
        config_file: its config.
        weights: a checkpoint; "" for random ones, to time only.
        size: of the input.
        options: ``[KEY, VALUE, ...]``.
    """

    def __init__(self, name: str, config_file: str, weights: str, *, size: int, options: Sequence = ()):
        self.name = name
        sized = ["INPUT.POSE.SIZE", size, "INPUT.MIN_SIZE_TEST", size, "INPUT.MAX_SIZE_TEST", size]
        offline = ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "MODEL.RLE_ONESTAGE.TIMM.PRETRAINED", False]
        cfg = load_config(config_file, [*options, *sized, *offline])
        if weights:
            self.predictor = Predictor(cfg, weights)
        else:
            model: Any = build_architecture(cfg).eval()
            model.drop_training_parts()
            self.predictor = Predictor(cfg, model=as_run(model))
        self.cost = {"parameters_M": sum(p.numel() for p in self.predictor.model.parameters()) / 1e6}
        with FlopCounterMode(display=False) as counter:
            self.predictor(np.zeros((size, size, 3), np.uint8))
        self.cost["gflops"] = counter.get_total_flops() / 1e9

    def predict(self, root: str, split: str, results_file: str) -> None:
        """Write COCO results of a split."""
        rows = []
        for image in read_json(annotations_file(root, split))["images"]:
            people = self.predictor(read_image(os.path.join(root, split, image["file_name"])))
            rows += instances_to_coco(people, image["id"])
        write_json(rows, results_file)

    def ask(self, path: str) -> tuple[float, int]:
        """(milliseconds from the decoded image to people, number of people)."""
        image = read_image(path)
        start = time.perf_counter()
        people = self.predictor(image)
        return 1e3 * (time.perf_counter() - start), len(people)

    def close(self) -> None:
        """Nothing to end."""


class Peer:
    """An Ultralytics model, by ``projects/yolo_comparison/ultralytics_peer.py``.

    Args:
        name: for the table.
        python: the interpreter of the peer's environment.
        weights: a ``.pt`` file, or a ``.yaml`` for random weights.
        size: of the input.
        threads: of its process.

    Raises:
        ConfigError: the process does not start; the message has its last words.
    """

    def __init__(self, name: str, python: str, weights: str, *, size: int, threads: int):
        self.name, self.python, self.weights, self.size = name, python, weights, size
        self._words = tempfile.TemporaryFile("w+")  # a pipe that nobody reads would fill and stop the peer
        self._environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        command = [python, PEER_SCRIPT, "serve", "--weights", weights, "--imgsz", str(size), "--threads", str(threads)]
        try:
            self._server = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._words, text=True,
                env=self._environment,
            )  # fmt: skip
        except OSError as error:
            raise ConfigError(f"--peer-python {python} cannot be started ({error.strerror}); see --help") from error
        self.cost: dict[str, float] = self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._server.stdout is not None  # for the type checker: it is a pipe
        for line in self._server.stdout:
            if line.startswith("{"):  # Ultralytics prints to standard output too
                return json.loads(line)
        self._server.wait()
        self._words.seek(0)
        words = self._words.read().strip().splitlines()
        raise ConfigError(f"the peer {self.name} ended: {words[-1] if words else 'without a word'}")

    def predict(self, root: str, split: str, results_file: str) -> None:
        """Write COCO results of a split."""
        command = [self.python, PEER_SCRIPT, "predict", "--data", root, "--split", split, "--weights", self.weights,
                   "--imgsz", str(self.size), "--results", results_file]  # fmt: skip
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        if done.returncode:
            words = done.stderr.strip().splitlines()
            raise MediaError(f"the peer {self.name} could not predict {split}: {words[-1] if words else 'no message'}")

    def ask(self, path: str) -> tuple[float, int]:
        """(milliseconds from the decoded image to people, number of people)."""
        assert self._server.stdin is not None  # for the type checker: it is a pipe
        self._server.stdin.write(f"{os.path.abspath(path)}\n")
        self._server.stdin.flush()
        answer = self._answer()
        return answer["ms"], answer["people"]

    def close(self) -> None:
        """End its process."""
        self._server.communicate()  # closes its input, which ends it, and its output
        self._words.close()
