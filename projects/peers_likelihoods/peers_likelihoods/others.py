"""What other projects measure, by their commands: AP with a bootstrap over images, and tracks."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from rle_onestage.errors import DataError

from .trained import Trained

PROJECTS = Path(__file__).resolve().parents[2]
BOOTSTRAP = "projects/people/report.py"
VIDEO = "projects/video_benchmark/benchmark_video.py"


def run_command(command: list[str], log: str) -> None:
    """Run a script of another project, what it says into a file.

    Raises:
        DataError: it ends with an error.
    """
    os.makedirs(os.path.dirname(log), exist_ok=True)
    # The configs of the runs name this project's package by IMPORTS.
    paths = [str(PROJECTS / "peers_likelihoods"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    with open(log, "w", encoding="utf-8") as file:
        code = subprocess.run(
            [sys.executable, *command],
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=PROJECTS.parent,
            env=environment,
            check=False,
        ).returncode
    if code:
        raise DataError(f"{command[0]} ended with code {code}; its words are in {log}")


def bootstrap_ap(
    files: dict[str, str], baseline: str, name: str, annotations: str, output: str, resamples: int
) -> dict[str, dict[str, Any]]:
    """AP of several files of results on a set, and differences from one of them with intervals over images.

    Args:
        files: name of a model -> its results.
        baseline: one of the names.
        name: of the set.
        annotations: its file.
        output: folder for what the command writes.
        resamples: of the images.

    Returns:
        dict model -> dict of ``value``, ``difference``, ``difference_interval`` and more.

    Raises:
        DataError: the command fails.
    """
    command = [BOOTSTRAP, "--set", name, os.path.abspath(annotations), "--output", os.path.abspath(output)]
    command += ["--baseline", baseline, "--resamples", str(resamples)]
    for model, path in files.items():
        command += ["--results", model, "1", name, os.path.abspath(path)]
    run_command(command, os.path.join(output, "log.txt"))
    with open(os.path.join(output, "report.json"), encoding="utf-8") as file:
        found = json.load(file)["differences"][name]["1"]
    return {model: row["AP"] for model, row in found.items()}


def tracks(run: Trained, clips: str, output: str) -> dict[str, float]:
    """Identities and joints of a run's tracks, with its own sigmas.

    Args:
        run: of synthetic people.
        clips: folder of a set with videos, see ``datasets/make_synthetic.py``.
        output: folder for detections and report; what is there is not done again.

    Returns:
        dict of ``IDF1``, ``IDSW``, ``error``, ``jitter``, ``error/sigma`` and more; and ``raw_jitter``, without a
        filter.

    Raises:
        DataError: a command fails.
    """
    folder, clips = os.path.abspath(output), os.path.abspath(clips)
    path = os.path.join(folder, "report", "report.json")
    if not os.path.exists(path):
        detect = [VIDEO, "detect", "--clips", clips, "--output", folder]
        detect += ["--config-file", os.path.abspath(os.path.join(run.own, "config.yaml"))]
        run_command([*detect, "--opts", "MODEL.WEIGHTS", os.path.abspath(run.weights())], f"{folder}/detect.txt")
        report = [VIDEO, "report", "--clips", clips, "--detections", folder, "--output", f"{folder}/report"]
        run_command(report, f"{folder}/report.txt")
    with open(path, encoding="utf-8") as file:
        found = json.load(file)
    numbers = {key: value for key, value in found["ours"].items() if isinstance(value, (int, float))}
    return {**numbers, "raw_jitter": found["no filter"]["jitter"]}
