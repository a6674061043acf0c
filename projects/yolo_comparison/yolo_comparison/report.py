"""Scores, latencies and images of both models, as a table and as JSON."""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import cv2
import numpy as np
import torch
from tabulate import tabulate

from rle_onestage.data.coco.categories import keypoint_category
from rle_onestage.data.coco.json_files import read_json
from rle_onestage.evaluation import score_results
from rle_onestage.evaluation.result_files import read_results
from rle_onestage.evaluation.results import by_image, instances_from_labels, instances_from_results
from rle_onestage.structures.skeleton import skeleton_from_category
from rle_onestage.utils.images import read_image
from rle_onestage.utils.safe_files import write_text
from rle_onestage.video.io import write_image
from rle_onestage.visualization import contact_sheet, draw_people, draw_tag
from yolo_comparison.models import Ours, Peer, check_names
from yolo_comparison.sets import annotations_file

logger = logging.getLogger("rle_onestage")

_METRICS = ("AP", "AP50", "AP75", "AR")
WARMUP = 3  # calls of each model that do not count


def build_models(
    ours: list[list[str]], peers: list[list[str]], *, peer_python: str, size: int, threads: int, options: Sequence = ()
) -> "Iterator[Ours | Peer]":
    """Both models, ready to answer, one after the other.

    Args:
        ours: list of (name, config file, weights).
        peers: list of (name, weights).
        peer_python: the interpreter of the peers' environment.
        size: of the input.
        threads: of each model.
        options: ``[KEY, VALUE, ...]`` for ours.
    """
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    check_names(*ours, *peers)
    yield from (Ours(name, config, weights, size=size, options=options) for name, config, weights in ours)
    yield from (Peer(name, peer_python, weights, size=size, threads=threads) for name, weights in peers)


def scores(
    models: "list[Ours | Peer]", root: str, splits: list[str], output: str, sigmas: tuple = (), max_people: int = 20
) -> dict[str, dict[str, dict]]:
    """COCO's keypoint metrics of every model on every split; the results stay in ``output``.

    Returns:
        dict split -> model -> metric -> percent.
    """
    table: dict[str, dict[str, dict]] = {split: {} for split in splits}
    for split in splits:
        for model in models:
            file = os.path.join(output, f"{model.name}.{split}.json")
            logger.info("%s predicts %s", model.name, split)
            model.predict(root, split, file)
            found = score_results(
                annotations_file(root, split), file, oks_sigmas=sigmas, backend="pycocotools", max_people=max_people
            )
            table[split][model.name] = {name: found["keypoints"][name] for name in _METRICS}
    return table


def latencies(
    models: "list[Ours | Peer]", image: str, *, rounds: int = 5, calls: int = 10
) -> dict[str, dict[str, Any]]:
    """Milliseconds from a decoded image to people, the models in turn.

    Args:
        models: to ask.
        image: path.
        rounds: alternations.
        calls: of each model in a round.

    Returns:
        dict model -> {"ms": median of the rounds' medians, "rounds": [median of each round], "people": found}.
    """
    measured: dict[str, list[float]] = {model.name: [] for model in models}
    people = {}
    for model in models:
        for _ in range(WARMUP):
            people[model.name] = model.ask(image)[1]
    for _ in range(rounds):
        for model in models:
            measured[model.name].append(median(model.ask(image)[0] for _ in range(calls)))
    return {name: {"ms": median(ms), "rounds": ms, "people": people[name]} for name, ms in measured.items()}


def draw_images(models: "list[Ours | Peer]", root: str, split: str, output: str, *, count: int = 6) -> str:
    """A page of the first images of a split with at least two people: the labels, and each model's best people.

    As many as the labels have, since the models' scores mean different things.
    """
    file = annotations_file(root, split)
    data = read_json(file)
    skeleton = skeleton_from_category(keypoint_category(data, file), None, [])
    labels: dict[int, list[dict]] = {}
    for annotation in data["annotations"]:
        labels.setdefault(annotation["image_id"], []).append(annotation)
    found = [by_image(read_results(os.path.join(output, f"{model.name}.{split}.json"))) for model in models]
    chosen = [image for image in data["images"] if len(labels.get(image["id"], ())) >= 2][:count]
    tiles = []
    for record in chosen:
        image = read_image(os.path.join(root, split, record["file_name"]))
        size, scale = image.shape[:2], 480 / image.shape[0]
        rows = [(model.name, instances_from_results(results.get(record["id"], []), size, skeleton.num_joints))
                for model, results in zip(models, found)]  # fmt: skip
        truth = instances_from_labels(labels[record["id"]], size, skeleton.num_joints)
        for name, people in [*rows, ("labels", truth)]:
            best = people[people.scores.argsort(descending=True)[: len(truth)]]
            drawn = draw_people(image, best, skeleton, threshold=0.0, labels=False, scale=scale)
            draw_tag(drawn, name, (4, 4), 18)
            tiles.append(drawn)
    path = os.path.join(output, f"images_{split}.jpg")
    write_image(path, contact_sheet(tiles, len(models) + 1, tile=(480, 360)))
    return path


def format_report(report: dict[str, Any]) -> str:
    """Markdown tables."""
    names = list(report["cost"])
    parts = []
    for split, table in report.get("scores", {}).items():
        rows = [(name, *(f"{table[name][metric]:.1f}" for metric in _METRICS)) for name in names]
        parts.append(f"{split}\n\n{tabulate(rows, (split, *_METRICS), tablefmt='github', disable_numparse=True)}")
    if "latency" in report:
        best = min(each["ms"] for each in report["latency"].values())
        cost = {name: (f"{each['parameters_M']:.2f}", f"{each['gflops']:.1f}") for name, each in report["cost"].items()}
        rows = [
            (name, *cost[name], f"{each['ms']:.1f}", f"{each['ms'] / best:.2f}", each["people"])
            for name, each in report["latency"].items()
        ]
        head = ("complete way", "parameters, M", "GFLOPs", "ms", "of the fastest", "people")
        parts.append(tabulate(rows, head, tablefmt="github", disable_numparse=True))
    return "\n\n".join(parts)


def write_report(report: dict[str, Any], output: str) -> None:
    """``head_to_head.json`` and ``head_to_head.md``."""
    write_text(os.path.join(output, "head_to_head.json"), json.dumps(report, indent=1) + "\n")
    write_text(os.path.join(output, "head_to_head.md"), format_report(report) + "\n")


def noise_image(path: str, side: int) -> str:
    """An image of noise to time on, where none is given."""
    write_image(path, np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))
    return path
