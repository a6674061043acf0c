#!/usr/bin/env python3
"""What the density costs at test time: FLOPs and time of one photograph under rle and under l1.

python projects/paper_tables/density_cost.py --rounds 20

The two models of a setting have the same weights of the network, and run in turn. Times are the processor's, of one
thread. projects/loss_comparison/benchmark_heads.py measures two stages.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate
from torch.utils.flop_counter import FlopCounterMode

from rle_onestage import Predictor, load_config
from rle_onestage.engine.benchmark import alternate
from rle_onestage.engine.checkpoint.start import start_from_weights
from rle_onestage.engine.models import as_run, build_architecture
from rle_onestage.errors import exits_with_sentence
from rle_onestage.utils.arguments import positive_int
from rle_onestage.utils.images import read_image

ROOT = Path(__file__).resolve().parents[2]
IMAGE = ROOT / "datasets" / "examples" / "skiers.jpg"
SPACE = ROOT / "projects" / "three_dimensions" / "configs" / "rle.yaml"
# Of both settings; under l1 there is no density of depth to be trained.
_BOTH = ("MODEL.WEIGHTS", "rle-onestage://people_synthetic.pth", "SOLVER.TRAIN_ONLY", "[]")
_CALLS = 5  # of a round
DENSITY = "MODEL.RLE_ONESTAGE.DENSITY"
# By setting: config, and the key of the density that differs.
SETTINGS = {
    "one-stage": (ROOT / "configs" / "people_synthetic.yaml", DENSITY),
    "one-stage with depth": (SPACE, "MODEL.RLE_ONESTAGE.DEPTH.DENSITY"),
}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rounds", type=positive_int, default=20, metavar="N", help=f"of {_CALLS} calls, of which the median is shown"
    )
    parser.add_argument("--image", default=str(IMAGE), metavar="FILE")
    return parser.parse_args(arguments)


def predictor(config: Path, options: Sequence[str]) -> Predictor:
    """A config's model as it runs, with the weights that its training would start from.

    Args:
        config: its file.
        options: KEY VALUE words.
    """
    cfg = load_config(
        str(config), [*options, "MODEL.DEVICE", "cpu", "DATASETS.TRAIN", "()", "DATASETS.TEST", "()", *_BOTH]
    )
    model: Any = build_architecture(cfg)
    start_from_weights(model, cfg, None)
    model.eval()  # which makes the tables of the density
    model.drop_training_parts()
    return Predictor(cfg, model=as_run(model))


def several(run: Callable[[], Any]) -> None:
    """The calls of a round."""
    for _ in range(_CALLS):
        run()


def gflops(run: Callable[[], Any]) -> float:
    """Convolutions and matrix products of a call, 2 for a multiply-add."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() / 1e9


@exits_with_sentence
def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    torch.set_num_threads(1)
    image = read_image(args.image)
    rows = []
    for setting, (config, key) in SETTINGS.items():
        predictors = {density: predictor(config, [key, density]) for density in ("rle", "l1")}
        runs = {density: partial(found, image) for density, found in predictors.items()}
        people = {density: len(run()) for density, run in runs.items()}
        rounds = {density: partial(several, run) for density, run in runs.items()}
        seconds = alternate(rounds, args.rounds, clock=time.process_time)
        rows += [
            [
                setting,
                density,
                people[density],
                gflops(run),
                1e3 * seconds[density] / _CALLS,
                seconds[density] / seconds["l1"],
            ]
            for density, run in runs.items()
        ]
    headers = ["setting", "density", "people", "GFLOPs", "ms of the processor", "over l1"]
    print(tabulate(rows, headers=headers, tablefmt="pipe", floatfmt=("", "", "", ".4f", ".1f", ".3f")))


if __name__ == "__main__":
    main()
