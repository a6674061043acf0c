#!/usr/bin/env python3
"""Exported files beside PyTorch on photographs of all sizes: parity of each model and format, and AP on data sets.

python projects/export_benchmark/parity.py --model people --model people_synthetic --images photographs \\
    --config centernet configs/coco/centernet_mobilenetv4_medium_512.yaml untrained \\
    --dataset people coco_val --output output/parity

Each model is asked once on each image, which takes the longest, and then compared with each format. Writes parity.json
and parity.md after each comparison. A stopped run goes on with the same command.
"""

import argparse
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from export_benchmark.comparison import AGAIN, Reference, compare_format, export_both
from export_benchmark.models import UNTRAINED, Model, from_config, from_zoo
from export_benchmark.photographs import mixed_sizes
from export_benchmark.tables import parity_table, precision_table

from rle_onestage.engine.models import as_run, build_for_inference
from rle_onestage.errors import ConfigError, exits_with_sentence
from rle_onestage.evaluation import write_json
from rle_onestage.export import FORMATS, load, read_images
from rle_onestage.export.measuring import FileModel, metrics_of
from rle_onestage.utils.arguments import natural_int, positive_int
from rle_onestage.utils.safe_files import write_text
from rle_onestage.video.io import make_folder

_FORMATS = ["onnx", "openvino", "torchscript", "torch_export"]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", action="append", default=[], metavar="NAME", help="of the model zoo, with its weights"
    )
    parser.add_argument(
        "--config", action="append", default=[], nargs="+", metavar=("NAME", "FILE"),
        help=f"a name, a config, weights (or {UNTRAINED}: random ones that find people), and options KEY VALUE of it",
    )  # fmt: skip
    parser.add_argument("--formats", nargs="+", default=_FORMATS, metavar="F")
    parser.add_argument(
        "--again", action="append", default=[], metavar="NAME", help="compare PyTorch without oneDNN too"
    )
    parser.add_argument("--images", nargs="+", default=[], metavar="PATH", help="photographs: files, folders or globs")
    parser.add_argument("--count", type=positive_int, default=100, metavar="N", help="images made of them")
    parser.add_argument("--seed", type=natural_int, default=0, metavar="N", help="of their sizes")
    parser.add_argument(
        "--dataset", action="append", default=[], nargs=2, metavar=("NAME", "SET"),
        help="measure the AP of a model on a data set that its config knows",
    )  # fmt: skip
    parser.add_argument("--output", required=True, metavar="FOLDER")
    return parser.parse_args(arguments)


def models_of(args: argparse.Namespace) -> dict[str, Model]:
    """By name, in their order.

    Raises:
        ConfigError: a model is not whole, or two have the same name, or a flag names none.
    """
    models = [from_zoo(name) for name in args.model]
    for given in args.config:
        if len(given) < 3:
            raise ConfigError(f"--config {' '.join(given)} is not whole; give NAME FILE WEIGHTS, or {UNTRAINED}")
        name, file, weights, *options = given
        models.append(from_config(name, file, weights, options, args.output))
    found = {model.name: model for model in models}
    if not models or len(found) < len(models):
        raise ConfigError("give models with --model or --config, each under a name of its own")
    for name in [*(name for name, _ in args.dataset), *args.again]:
        if name not in found:
            raise ConfigError(f"{name} is none of the models; choose among {', '.join(found)}")
    return found


class Report:
    """What is known so far, in a folder.

    Args:
        folder: of parity.json and parity.md.
        models: name -> digest.
        images: what is compared on, in a word that tells it from others.

    Raises:
        ConfigError: the folder has a report on another model of that name, or on other images.
    """

    def __init__(self, folder: str, models: dict[str, str], images: str):
        self.folder, path = folder, os.path.join(folder, "parity.json")
        self.content: dict[str, Any] = {"images": images, "digests": {}, "parity": {}, "precision": {}}
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                self.content = json.load(file)
        digests = self.content["digests"]
        if self.content["images"] != images or any(digests.get(name, own) != own for name, own in models.items()):
            raise ConfigError(f"{folder} has a report on other images or models; give another --output, or remove it")
        digests.update(models)

    def write(self) -> None:
        """Both files."""
        write_json(self.content, os.path.join(self.folder, "parity.json"))
        tables = [parity_table(self.content["parity"]), precision_table(self.content["precision"])]
        write_text(os.path.join(self.folder, "parity.md"), "\n\n".join(tables) + "\n")


def measure(report: Report, model: Model, reference: Reference, dataset: str, formats: Sequence[str]) -> None:
    """Add the AP of PyTorch and of each format to a report."""
    own = report.content["precision"].setdefault(model.name, {"dataset": dataset, "metrics": {}})
    for name in ["PyTorch", *formats]:
        if name in own["metrics"]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            if name == "PyTorch":
                run = as_run(build_for_inference(model.cfg, model.cfg.MODEL.WEIGHTS))
            else:
                run = FileModel(load(export_both(reference, name, folder)[0], threads=1))
            found = metrics_of(model.cfg, run, dataset)
        own["metrics"][name] = {key: found[key] for key in ("AP", "AP50")}
        report.write()
        print(f"{model.name} on {dataset}, {name}: {found['AP']:.3f} AP", flush=True)


@exits_with_sentence
def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    for name in args.formats:
        FORMATS.get(name)().check()
    make_folder(args.output)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    models = models_of(args)
    images = mixed_sizes(read_images(args.images), args.count, args.seed)
    seen = hashlib.sha256(b"".join(np.array(image.shape).tobytes() + image.tobytes() for image in images)).hexdigest()
    report = Report(args.output, {name: model.digest for name, model in models.items()}, seen)
    for name, model in models.items():
        reference = Reference(model, images, os.path.join(args.output, f"{name}_{seen[:8]}.npz"))
        own = report.content["parity"].setdefault(name, {})
        for each in [*args.formats, *([AGAIN] if name in args.again else [])]:
            if each not in own:
                own[each] = compare_format(reference, each)
                report.write()
                print(f"{name}, {each}: {'; '.join(own[each]['faults']) or 'equal'}", flush=True)
        for dataset in [dataset for whose, dataset in args.dataset if whose == name]:
            measure(report, model, reference, dataset, args.formats)
    with open(os.path.join(args.output, "parity.md"), encoding="utf-8") as file:
        print(file.read())


if __name__ == "__main__":
    main()
