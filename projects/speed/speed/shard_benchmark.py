"""How fast images are read from a folder and from shards."""

import argparse
import os
import time
from collections.abc import Callable, Sequence

import numpy as np

from rle_onestage.data.coco.json_files import read_json
from rle_onestage.data.shards.writing import KINDS, ShardSplit, write_shards
from rle_onestage.utils.bounded_reading import read_file
from rle_onestage.utils.images import read_image
from rle_onestage.utils.tables import table_text


def run(args: argparse.Namespace) -> None:
    """Pack the set, read it in every layout and print the table."""
    places = {"folder": _paths(args.annotations, args.images)}
    for kind in KINDS:
        folder = os.path.join(args.output, kind)
        split = ShardSplit("set", args.annotations, args.images)
        print("\n".join(write_shards([split], folder, kind=kind, size=args.shard_mb * 2**20)))
        places[kind] = _paths(os.path.join(folder, "set.json"), folder)
    rng = np.random.default_rng(0)
    order = rng.choice(len(places["folder"]), min(args.number, len(places["folder"])), replace=False)
    rates: dict[str, list[list[float]]] = {name: [] for name in places}
    for _ in range(args.rounds):
        for name, paths in places.items():
            chosen = [paths[i] for i in order]
            rates[name].append([_rate(read_file, chosen), _rate(read_image, chosen)])
    medians = {name: np.median(values, 0) for name, values in rates.items()}
    rows = [[name, *map(round, values), float(values[1] / medians["folder"][1])] for name, values in medians.items()]
    print(table_text(rows, ("layout", "files, bytes alone", "images, decoded", "of a folder's")))


def _paths(labels: str, folder: str) -> list[str]:
    return [os.path.join(folder, image["file_name"]) for image in read_json(labels)["images"]]


def _rate(read: Callable, paths: Sequence[str]) -> float:
    start = time.process_time()
    for path in paths:
        read(path)
    return len(paths) / (time.process_time() - start)
