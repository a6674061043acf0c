#!/usr/bin/env python3
"""From the start of a process to the people of a first image: ONNX Runtime alone beside this package in PyTorch.

python projects/export_benchmark/start.py --file people.onnx --model people --output start.json

Each is a process of its own, in turn, with one thread. Seconds of the processor are comparable where others use the
machine too, seconds on the clock are not.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from export_benchmark.processes import Cost, cost_of
from tabulate import tabulate

from rle_onestage.errors import DataError, exits_with_sentence
from rle_onestage.evaluation import write_json
from rle_onestage.export import read_images
from rle_onestage.utils.arguments import positive_int

# Each is given a model and an image, and prints how many people it finds.
ALONE = """
import sys
import numpy
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads, options.enable_mem_pattern = 1, False
session = onnxruntime.InferenceSession(sys.argv[1], options)
print(len(session.run(["scores"], {"image": numpy.load(sys.argv[2])})[0]))
"""
PYTORCH = """
import sys
import numpy
import torch
from rle_onestage import model_zoo
torch.set_num_threads(1)
print(len(model_zoo.get_predictor(sys.argv[1])(numpy.load(sys.argv[2]))))
"""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", required=True, metavar="FILE", help="an ONNX file of the model")
    parser.add_argument("--model", default="people", metavar="NAME", help="of the model zoo")
    parser.add_argument("--image", default="", metavar="FILE", help="(default: one of the package)")
    parser.add_argument("--rounds", type=positive_int, default=3, metavar="N", help="of which the median is shown")
    parser.add_argument("--output", metavar="FILE.json")
    return parser.parse_args(arguments)


def measure(file: str, model: str, image: np.ndarray, rounds: int) -> dict[str, list[Cost]]:
    """Costs of both, in turn.

    Raises:
        DataError: they find different numbers of people, so they are not the same model.
    """
    programs = {"ONNX Runtime alone": (ALONE, file), "PyTorch": (PYTORCH, model)}
    costs: dict[str, list[Cost]] = {name: [] for name in programs}
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "image.npy")
        np.save(path, image)
        for _ in range(rounds):
            for name, (program, given) in programs.items():
                costs[name].append(cost_of([sys.executable, "-c", program, given, path]))
    if len({cost.printed.splitlines()[-1] for each in costs.values() for cost in each}) > 1:
        raise DataError(f"{file} and {model} find different numbers of people; give the file of that model")
    return costs


@exits_with_sentence
def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    cv2.setNumThreads(1)
    costs = measure(args.file, args.model, read_images([args.image] if args.image else [])[0], args.rounds)
    report = {name: {key: median(getattr(cost, key) for cost in each) for key in ("wall", "cpu")}
              for name, each in costs.items()}  # fmt: skip
    rows = [(name, *(f"{own[key]:.1f}" for key in ("cpu", "wall"))) for name, own in report.items()]
    print(tabulate(rows, ("", "seconds of the processor", "on the clock"), "github", disable_numparse=True))
    if args.output:
        write_json(report, args.output)


if __name__ == "__main__":
    main()
