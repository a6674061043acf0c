"""What ``projects/video_benchmark/benchmark_video.py`` does."""

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from detectron2.structures import Boxes, Instances
from tabulate import tabulate

from rle_onestage.demo import DemoOptions, run_video
from rle_onestage.engine import load_config
from rle_onestage.errors import ConfigError
from rle_onestage.evaluation import write_json
from rle_onestage.predictor import Predictor
from rle_onestage.structures.skeleton import Skeleton
from rle_onestage.video.io import VideoReader
from rle_onestage.video.tracking import PoseTracker, TrackerOptions
from rle_onestage.video.tracking.tracker import DEFAULTS

from . import report
from .detections import detect, load_all
from .fit import fit_accelerations
from .identity import identity_metrics
from .smoothness import smoothness_metrics
from .tune import MOTION, TRACKING, identity_score, smoothness_score, tune
from .variants import Variant

if TYPE_CHECKING:
    from rle_onestage.structures.skeleton import Skeleton
    from video_benchmark.report import Result


FILTERS = {"no filter": ("none", {}), "moving average of 3": ("moving_average", {"seconds": 0.12})}


def size_options(size: int | None) -> list:
    """Config keys and values for images with this longest side; none for None."""
    return [] if size is None else ["INPUT.POSE.SIZE", size, "INPUT.MIN_SIZE_TEST", size, "INPUT.MAX_SIZE_TEST", size]


def detect_clips(config_file: str, options: Sequence, clips: str, output: str) -> None:
    """Run a config's model over clips. See :func:`~.detections.detect`."""
    predictor = Predictor(load_config(config_file, options))
    for name, people in detect(predictor, clips, output):
        print(f"{name}: {people:.1f} detections a frame", flush=True)


def report_clips(
    clips: str,
    detections: str,
    output: str,
    skeleton: "Skeleton",
    *,
    peers: dict[str, str],
    one_euro: list[tuple[float, float]],
    equal: float,
    equal_options: tuple = (),
) -> None:
    """Measure and write ``report.md`` and ``report.json``.

    Args:
        clips: folder of the clips.
        detections: folder of the detections.
        output: folder for the tables.
        skeleton: of the joints.
        peers: dict name -> folder of tracks.
        one_euro: list of (smallest cut-off, beta).
        equal: share of the person's size that stands for all sigmas.
        equal_options: ``NAME=VALUE`` of the tracker, tuned for equal sigmas.

    Raises:
        ConfigError: an option is unknown or no number.
    """
    cases = load_all(clips, detections)
    filters = {**FILTERS, **{f"One-Euro {c:g}, {b:g}": ("one_euro", {"min_cutoff": c, "beta": b}) for c, b in one_euro}}
    results = {name: report.measure_peer(cases, folder, skeleton) for name, folder in peers.items()}
    results.update(report.measure_filters(cases, skeleton, filters))
    results.update(report.measure_ours(cases, skeleton, equal, tracker_options(equal_options)))
    pages = [
        report.table(results, identity_metrics, "identity"),
        report.table(results, smoothness_metrics, "smoothness"),
        _differences(results, peers),
    ]
    os.makedirs(output, exist_ok=True)
    text = "\n\n".join(pages)
    write_json(report.as_json(results), os.path.join(output, "report.json"))
    path = os.path.join(output, "report.md")
    with open(f"{path}.tmp", "w", encoding="utf-8") as file:
        file.write(text + "\n")
    os.replace(f"{path}.tmp", path)
    print(f"{len(cases)} clips\n\n{text}")


def tracker_options(assignments: list[str] | tuple) -> TrackerOptions:
    """The tracker's options with some of them, ``NAME=VALUE``, changed. See :func:`report_clips`."""
    try:
        options: dict[str, Any] = {name: float(value) for name, value in (one.split("=") for one in assignments)}
        return TrackerOptions(**options)
    except (ValueError, TypeError) as error:
        given = " ".join(assignments)
        raise ConfigError(f"{given!r} names no options of the tracker ({error}); give NAME=VALUE") from error


def _differences(results: "dict[str, Result]", peers: dict[str, str]) -> str:
    """Table of ours minus the peers, and minus ours without sigmas."""
    ours, lines = results["ours"], []
    for other in (*peers, "ours, all sigmas equal"):
        for name in ("IDF1", "HOTA"):
            found = report.difference(ours.identity, results[other].identity, identity_metrics, name)
            lines.append([f"{name}: ours - {other}", *(f"{value:+.1f}" for value in found)])
    for other in ("no filter", "ours, all sigmas equal"):
        for name in ("error", "jitter"):
            found = report.difference(ours.smoothness, results[other].smoothness, smoothness_metrics, name)
            lines.append([f"{name}: ours - {other}", *(f"{value:+.2f}" for value in found)])
    return tabulate(lines, ["", "difference", "95 % from", "to"], tablefmt="pipe", disable_numparse=True)


def choose_peer(clips: str, detections: str, folder: str, skeleton: Skeleton) -> None:
    """Print the best of a peer's combinations and its metrics."""
    cases = load_all(clips, detections)
    best, number = report.best_peer(cases, folder, skeleton)
    print(f"best of {number}: {best}")
    print(report.table({"": report.measure_peer(cases, best, skeleton)}, identity_metrics, "identity"))


def tune_options(
    clips: str, detections: str, what: str, trials: int, seed: int, equal: float | None, skeleton: Skeleton
) -> None:
    """Search for options of the tracker and print each gain."""
    cases = load_all(clips, detections)
    ranges, score = (TRACKING, identity_score) if what == "tracking" else (MOTION, smoothness_score)
    start = Variant(equal=equal)
    for trial, variant, value in tune(start, cases, skeleton, ranges=ranges, score=score, trials=trials, seed=seed):
        chosen = ", ".join(f"{name}={getattr(variant.options, name):g}" for name in ranges)
        print(f"{trial}: {value:.2f}  {chosen}", flush=True)


def fit_joints(clips: str, detections: str, skeleton: Skeleton) -> None:
    """Print the accelerations that fit best."""
    for kind, value in fit_accelerations(load_all(clips, detections), skeleton, DEFAULTS).items():
        print(f"{kind}: {value:g}")


def time_frames(number: int, frames: int, skeleton: Skeleton) -> None:
    """Print the time of tracker and smoother for ``number`` people that walk about, in milliseconds a frame."""
    rng = np.random.default_rng(0)
    place, speed = rng.uniform(0, 1000, (number, 1, 2)), rng.normal(0, 60, (number, 1, 2))
    shape = rng.normal(0, 30, (number, skeleton.num_joints, 2))
    lines = []
    for name, lag in (("online", 0), ("8 frames later", 8)):
        tracker, spent = PoseTracker(skeleton, lag=lag), []
        for i in range(frames):
            points = place + speed * i / 25 + shape + rng.normal(0, 2, shape.shape)
            people = _people(points, rng)
            start = time.perf_counter()
            tracker.push(people, i / 25)
            spent.append(1000 * (time.perf_counter() - start))
        last = np.array(spent[frames // 20 :])
        lines.append([name, *(f"{value:.2f}" for value in (np.median(last), np.percentile(last, 95)))])
    print(f"{number} people")
    print(tabulate(lines, ["", "ms a frame, median", "95 %"], tablefmt="pipe", disable_numparse=True))


def time_demo(config_file: str, options: list, video: str, output: str, *, rounds: int, lag: int) -> None:
    """Print the frames per second of the model alone and of the whole demo, in turns, and their ratio.

    The demo follows, smooths, draws, and writes a video and JSON lines; its log has the share of each stage.

    Args:
        config_file: of the model.
        options: ``[KEY, VALUE, ...]`` of the model.
        video: file.
        output: of the demo.
        rounds: how many times.
        lag: frames.
    """
    predictor = Predictor(load_config(config_file, options))
    with VideoReader(video) as frames:
        images = [frame.image for frame in frames]
    predictor(images[0])
    demo = DemoOptions(predictor.skeleton, output, json=f"{os.path.splitext(output)[0]}.jsonl")
    runs = {
        "model alone": lambda: [predictor(image) for image in images],
        "whole demo": lambda: run_video(predictor, video, demo, PoseTracker(predictor.skeleton, lag=lag)),
    }
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            rates[name].append(len(images) / (time.perf_counter() - start))
    ratios = np.divide(rates["whole demo"], rates["model alone"])
    lines = [[name, *(f"{rate:.1f}" for rate in values)] for name, values in rates.items()]
    lines.append(["ratio", *(f"{ratio:.2f}" for ratio in ratios)])
    print(tabulate(lines, ["frames/s", *range(1, rounds + 1)], tablefmt="pipe", disable_numparse=True))


def _people(points: np.ndarray, rng: np.random.Generator) -> Instances:
    out = Instances((1000, 1000))
    out.pred_boxes = Boxes(torch.from_numpy(np.concatenate([points.min(1), points.max(1)], 1)).float())
    out.scores = torch.from_numpy(rng.uniform(0.3, 0.9, len(points))).float()
    out.pred_classes = torch.zeros(len(points), dtype=torch.int64)
    confidence = torch.full((*points.shape[:2], 1), 0.8)
    out.pred_keypoints = torch.cat([torch.from_numpy(points).float(), confidence], -1)
    out.pred_keypoint_sigmas = torch.full((*points.shape[:2], 2), 2.0)
    return out
