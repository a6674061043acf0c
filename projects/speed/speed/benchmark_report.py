"""From the arguments of ``projects/speed/benchmark.py`` to a table and a JSON file."""

import argparse
import json
import os
import platform
from collections.abc import Callable
from typing import Any

import torch
from detectron2.config import CfgNode
from tabulate import tabulate

from rle_onestage.engine.benchmark import Benchmark
from rle_onestage.engine.setup import load_config
from rle_onestage.errors import ConfigError, MediaError
from rle_onestage.utils.safe_files import write_text

from .flags import whole_numbers

PARTS = ("inference", "flow", "people", "loader", "training", "evaluation")


def run(args: argparse.Namespace) -> dict:
    """Measure, print, and write.

    Args:
        args: namespace with the flags of ``projects/speed/benchmark.py``.

    Returns:
        The report, a dict of plain numbers.

    Raises:
        ConfigError: an argument or the config is wrong. MediaError: the output cannot be written.
    """
    parts, people = _checked(args)
    if args.threads:
        torch.set_num_threads(args.threads)
    cfg = load_config(args.config_file, args.opts)
    benchmark = Benchmark(cfg, size=_size(args.size, cfg), batch=args.batch, rounds=args.rounds)
    report = {
        "config": args.config_file, "size": list(benchmark.size), "batch": args.batch, "device": str(benchmark.device),
        "threads": torch.get_num_threads(), "torch": torch.__version__,
        "machine": platform.processor() or platform.machine(),
        "parameters_M": benchmark.parameters(), "gflops": benchmark.flops(),
    }  # fmt: skip
    measures: dict[str, Callable[[], Any]] = {
        "inference": benchmark.inference,
        "flow": benchmark.without_flow,
        "people": lambda: benchmark.people(people, max(args.rounds, 200) if args.rounds >= 50 else args.rounds),
        "loader": benchmark.loader,
        "training": lambda: benchmark.training(max(3, args.rounds // 5)),
        "evaluation": benchmark.evaluation,
    }
    for part in parts:
        report[part] = measures[part]()
    if "people" in parts:
        report["covariances"] = benchmark.covariances(people[-1])
    print(format_report(report))
    if args.output:
        _write(args.output, report)
    return report


def _checked(args: argparse.Namespace) -> tuple[list[str], list[int]]:
    parts = [part for part in args.parts.split(",") if part]
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise ConfigError(f"--parts {unknown[0]!r} is unknown; choose among {', '.join(PARTS)}")
    if args.batch < 1 or args.rounds < 1 or args.threads < 0:
        raise ConfigError("--batch and --rounds must be at least 1, and --threads not negative")
    return parts, whole_numbers(args.people, "--people")


def _size(text: str, cfg: CfgNode) -> tuple[int, int]:
    if not text:
        fixed = cfg.INPUT.MAX_SIZE_TEST if cfg.INPUT.MIN_SIZE_TEST >= cfg.INPUT.MAX_SIZE_TEST else 0
        return (fixed or cfg.INPUT.POSE.SIZE or 640,) * 2
    sides = whole_numbers(text, "--size")
    if len(sides) > 2:
        raise ConfigError(f"--size {text!r} has more than two sides; give height,width or one side")
    return sides[0], sides[-1]


def _write(path: str, report: dict[str, Any]) -> None:
    folder = os.path.dirname(os.path.abspath(path))
    try:
        os.makedirs(folder, exist_ok=True)
        write_text(path, json.dumps(report, indent=1) + "\n")
    except OSError as error:
        raise MediaError(f"{path} cannot be written ({error.strerror}); choose another --output") from error


def format_report(report: dict) -> str:
    """A table for people."""
    height, width = report["size"]
    millions = report["parameters_M"]
    rows = [
        ("input", f"{report['batch']} x {height} x {width}, {report['device']}, {report['threads']} threads"),
        ("parameters", f"{millions['all']:.3f} M ({millions['inference']:.3f} M at inference)"),
        ("FLOPs", f"{report['gflops']['total']:.2f} G (2 for a multiply-add), from pixels to people"),
    ]
    rows += [(name, f"{ms:.2f} ms") for name, ms in report.get("inference", {}).items()]
    if "flow" in report:
        rows += _flow_rows(report["flow"])
    if "people" in report:
        people = report["people"]
        rows += [(f"decode, {n} people", f"{ms:.2f} ms ({people['found'][n]} found)") for n, ms in people["ms"].items()]
        rows.append(("last / first, decode", f"{people['ratio']:.3f}"))
        rows.append(("last / first, complete", f"{people['complete_ratio']:.3f}"))
        rows.append(("covariances / without, complete", f"{report['covariances']['ratio']:.3f}"))
    if "training" in report:
        rows += _training_rows(report["training"])
    for part, what in (("loader", "training batch from the loader"), ("evaluation", "evaluation, an image")):
        if part in report:
            missing = report[part] is None
            rows.append((what, "the data set is not there" if missing else f"{report[part]:.2f} ms"))
    return tabulate(rows, tablefmt="simple", disable_numparse=True)


def _flow_rows(flow: dict[str, Any]) -> list[tuple[str, str]]:
    ms, gflops, millions = flow["ms"], flow["gflops"], flow["parameters_M"]
    rows = [
        (f"pixels to people {n} the flow", f"{ms[n]:.2f} ms, {gflops[n]:.4f} GFLOPs, {millions[n]:.3f} M parameters")
        for n in ("with", "without")
    ]
    same = "every output the same" if flow["equal"] else "OUTPUTS DIFFER"
    return [*rows, ("without / with", f"{ms['without'] / ms['with']:.3f}, {same}")]


def _training_rows(training: dict[str, Any]) -> list[tuple[str, str]]:
    shares, ms = training["shares"], training["ms"]
    return [
        (f"training step, {training['images']} images", f"{ms['step']:.1f} ms ({training['data']})"),
        *((f"- {name}", f"{100 * shares[name]:.1f} %") for name in ("forward", "backward", "optimizer")),
        (
            "- flow, likelihood, normaliser",
            f"{100 * shares['density']:.1f} % ({ms['density']:.1f} ms, {training['residuals']} labels, "
            f"{training['nodes']} nodes)",
        ),
        ("step / backbone and pyramid alone", f"{training['step_over_bare']:.3f} ({ms['bare']:.1f} ms)"),
        ("step with flow / preset alone", f"{training['flow_step_over_preset_step']:.3f}"),
    ]
