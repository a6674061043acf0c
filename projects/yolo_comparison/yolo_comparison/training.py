"""Training images per second of both models, in turn, on the same images."""

import csv
import json
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from tabulate import tabulate

from rle_onestage.data.coco.json_files import read_json
from rle_onestage.engine.setup import load_config
from rle_onestage.errors import ConfigError
from yolo_comparison.models import PEER_SCRIPT, check_names
from yolo_comparison.sets import annotations_file

logger = logging.getLogger("rle_onestage")

TRAIN_SCRIPT = str(Path(__file__).resolve().parents[3] / "tools" / "train_net.py")
ITERATIONS = 60  # of ours; the first third does not count
_LOG_PERIOD = 5
SHARE = 0.3  # of the training set that the peer takes in an epoch; the second of three counts


def rates(
    ours: list[list[str]],
    peers: list[list[str]],
    root: str,
    *,
    peer_python: str,
    size: int,
    processes: int,
    rounds: int,
) -> dict[str, dict[str, Any]]:
    """Images a second of each model, the models in turn.

    Args:
        ours: list of (name, config file).
        peers: list of (name, weights or ``.yaml``).
        root: of the data set.
        peer_python: the interpreter of the peers' environment.
        size: of the input.
        rounds: alternations.
        processes: that ours trains with, of a thread each; the peer has one process with as many threads.

    Returns:
        dict name -> {"images_per_second": median of the rounds, "rounds": [each]}.

    Raises:
        ConfigError: a training ends with an error, or two models have the same name.
    """
    check_names(*ours, *peers)
    measured: dict[str, list[float]] = {name: [] for name, _ in (*ours, *peers)}
    for number in range(rounds):
        for name, config in ours:
            measured[name].append(our_rate(config, root, size=size, processes=processes))
        for name, weights in peers:
            measured[name].append(peer_rate(peer_python, weights, root, size=size, threads=processes))
        logger.info("round %d: %s", number + 1, {name: round(each[-1], 1) for name, each in measured.items()})
    return {name: {"images_per_second": median(each), "rounds": each} for name, each in measured.items()}


def our_rate(config: str, root: str, *, size: int, processes: int) -> float:
    """Images a second of a config, by the log of a short training."""
    with tempfile.TemporaryDirectory() as folder:
        options = {
            "OUTPUT_DIR": folder, "DATASETS.TEST": "()", "INPUT.POSE.SIZE": size, "INPUT.MIN_SIZE_TEST": size,
            "INPUT.MAX_SIZE_TEST": size, "SOLVER.MAX_ITER": ITERATIONS, "SOLVER.LOG_PERIOD": _LOG_PERIOD,
        }  # fmt: skip
        command = [sys.executable, TRAIN_SCRIPT, "--config-file", config, "--num-gpus", str(processes)]
        _run([*command, *(str(part) for pair in options.items() for part in pair)], DETECTRON2_DATASETS=root)
        lines = Path(folder, "training.jsonl").read_text().splitlines()
    seconds = [row["time"] for row in map(json.loads, lines) if row["iteration"] >= ITERATIONS // 3]
    return load_config(config).SOLVER.IMS_PER_BATCH / median(seconds)


def peer_rate(python: str, weights: str, root: str, *, size: int, threads: int) -> float:
    """Images a second of a peer, by the times of its epochs."""
    images = round(SHARE * len(read_json(annotations_file(root, "train"))["images"]))
    with tempfile.TemporaryDirectory() as folder:
        output = os.path.join(folder, "run")
        command = [python, PEER_SCRIPT, "train", "--data", root, "--model", weights, "--imgsz", size, "--epochs", 3,
                   "--fraction", SHARE, "--output", output]  # fmt: skip
        _run([str(part) for part in command], OMP_NUM_THREADS=threads)
        with open(os.path.join(output, "results.csv"), encoding="utf-8") as file:
            first, second, *_ = (float(row["time"]) for row in csv.DictReader(file))
    return images / (second - first)


def _run(command: list[str], **environment: Any) -> None:
    environment = {name: str(value) for name, value in environment.items()}
    try:
        done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ConfigError(f"{command[0]} cannot be started ({error.strerror}); see --help") from error
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise ConfigError(f"{' '.join(command[:3])} ended: {words[-1] if words else 'without a word'}")


def format_rates(report: dict[str, dict[str, Any]]) -> str:
    """A Markdown table."""
    best = max(each["images_per_second"] for each in report.values())
    rows = [
        (name, f"{each['images_per_second']:.1f}", f"{each['images_per_second'] / best:.2f}",
         f"{min(each['rounds']):.1f} to {max(each['rounds']):.1f}")
        for name, each in report.items()
    ]  # fmt: skip
    head = ("training", "images/s", "of the fastest", "rounds")
    return tabulate(rows, head, tablefmt="github", disable_numparse=True)
