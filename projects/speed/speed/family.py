"""Several configs of this project in one table: parameters, FLOPs, time of the complete way, memory."""

import os
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from tabulate import tabulate

from rle_onestage.engine.benchmark import Benchmark, TrainingStep, alternate
from rle_onestage.engine.memory import PeakMemory
from rle_onestage.engine.models import as_run
from rle_onestage.engine.setup import load_config
from rle_onestage.errors import ConfigError
from rle_onestage.predictor import Predictor


def measure(
    config_files: list[str], *, size: int, rounds: int = 20, training_images: int = 0, options: tuple = ()
) -> dict[str, dict[str, Any]]:
    """Cost of each config's model; weights do not matter and are random.

    Args:
        config_files: paths.
        size: side of the image and of the input.
        rounds: of the time, the models in turn.
        training_images: batch of a training step whose memory is measured; 0: not measured.
        options: ``[KEY, VALUE, ...]`` for all.

    Returns:
        dict name -> "backbone", "parameters_M", "gflops", "ms", "inference_mb" and, if asked for, "training_mb".

    Raises:
        ConfigError: two configs have the same file name.
    """
    names = [os.path.splitext(os.path.basename(path))[0] for path in config_files]
    if len(set(names)) < len(names):
        raise ConfigError(f"configs {', '.join(names)}: every file name must be different")
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    report, cases = {}, {}
    for name, path in zip(names, config_files):
        # Pretrained weights change no cost and may have to be fetched.
        fixed = ["INPUT.POSE.SIZE", size, "INPUT.MIN_SIZE_TEST", size, "INPUT.MAX_SIZE_TEST", size]
        fixed += ["MODEL.RLE_ONESTAGE.TIMM.PRETRAINED", False, "MODEL.WEIGHTS", ""]
        fixed += ["MODEL.RLE_ONESTAGE.MOVENET.PRETRAINED", ""]
        if training_images:
            fixed += ["SOLVER.IMS_PER_BATCH", training_images, "DATASETS.TRAIN", ()]
        cfg = load_config(path, [*options, *fixed])
        report[name], predictor = _one(cfg, size, training_images)
        cases[name] = lambda predictor=predictor: predictor(image)
        with PeakMemory(predictor.model) as memory:
            predictor(image)
        report[name]["inference_mb"] = memory.peak / 1e6
    for name, seconds in alternate(cases, rounds).items():
        report[name]["ms"] = 1e3 * seconds
    return report


def _one(cfg: CfgNode, size: int, training_images: int) -> "tuple[dict[str, Any], Predictor]":
    benchmark = Benchmark(cfg, size=(size, size))
    name = {"build_timm_fpn_backbone": cfg.MODEL.RLE_ONESTAGE.TIMM.NAME, "build_movenet_backbone": "movenet"}
    row = {
        "backbone": name.get(cfg.MODEL.BACKBONE.NAME, f"resnet{cfg.MODEL.RESNETS.DEPTH}"),
        "parameters_M": benchmark.parameters()["inference"],
        "gflops": benchmark.flops()["total"],
    }
    if training_images:
        row["training_mb"] = _training_memory(benchmark)
    model = benchmark.model.eval()
    model.drop_training_parts()
    return row, Predictor(cfg, model=as_run(model))


def _training_memory(benchmark: "Benchmark") -> float:
    """MB of what a training step makes, gradients and the optimizer's state included; without the weights."""
    benchmark.model.train()
    step = TrainingStep(benchmark)
    with PeakMemory(benchmark.model) as memory:
        step.step()
    return memory.peak / 1e6


def format_family(report: dict[str, dict[str, Any]]) -> str:
    """A Markdown table."""
    rows = []
    for name, row in report.items():
        memory = [f"{row[key]:.0f}" for key in ("inference_mb", "training_mb") if key in row]
        cost = [f"{row['parameters_M']:.2f}", f"{row['gflops']:.1f}", f"{row['ms']:.1f}"]
        rows.append([name, row["backbone"], *cost, *memory])
    head = ["", "backbone", "parameters, M", "GFLOPs", "ms", "inference, MB", "training, MB"]
    return tabulate(rows, head[: len(rows[0])], tablefmt="github", disable_numparse=True)
