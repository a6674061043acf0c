#!/usr/bin/env python3
r"""Train heads under several losses on what a frozen trunk sees, which is computed once: a loss takes seconds.

python projects/paper_tables/frozen_heads.py --config-file projects/paper_tables/configs/frozen_lspet.yaml \
    --output output/paper_frozen/lspet --opts MODEL.RLE_ONESTAGE.MOVENET.PRETRAINED movenet_multipose.pth

What is finished is not done again. losses_table.py makes the table.
"""

import argparse
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.utils.logger import setup_logger
from paper_tables.features import Seen, test_features, top_down_model, training_features
from paper_tables.heads import OnFeatures, finish, train
from paper_tables.trained import LOSSES, REPEATED

from rle_onestage.engine.config.yaml_file import parse_yaml
from rle_onestage.engine.inference import METRICS
from rle_onestage.engine.setup import load_config, seed_everything
from rle_onestage.errors import ConfigError, exits_with_sentence
from rle_onestage.utils.arguments import natural_int, positive_int

RULES = Path(__file__).resolve().parent / "rules.yaml"
logger = logging.getLogger("rle_onestage")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="FILE")
    parser.add_argument("--output", required=True, metavar="DIR", help="each run goes to DIR/<loss>/seed<k>")
    parser.add_argument("--losses", nargs="+", default=list(LOSSES), metavar="NAME", help=f"of {RULES.name}")
    parser.add_argument(
        "--seeds", nargs="+", type=natural_int, default=[1, 2, 3], metavar="N",
        help=f"the first one for all losses, the others for {', '.join(REPEATED)}",
    )  # fmt: skip
    parser.add_argument("--batches", type=positive_int, default=400, metavar="N", help="that the trunk sees of the set")
    parser.add_argument("--opts", nargs="*", default=[], metavar="KEY VALUE", help="of the config, for all runs")
    return parser.parse_args(arguments)


def options_of(losses: list[str]) -> dict[str, list[str]]:
    """``[KEY, VALUE, ...]`` of each loss.

    Raises:
        ConfigError: there is no such loss.
    """
    rules: Mapping[str, Mapping] = parse_yaml(str(RULES))[0]
    unknown = [loss for loss in losses if loss not in rules]
    if unknown:
        raise ConfigError(f"--losses {unknown[0]!r} is not known; choose among {', '.join(rules)}")
    return {loss: [str(part) for pair in rules[loss].items() for part in pair] for loss in losses}


def planned(args: argparse.Namespace) -> list[tuple[str, int, CfgNode]]:
    """Loss, seed and config of each run that is not finished, in the order of the work."""
    options = options_of(args.losses)
    names = sorted(options, key=lambda loss: loss not in REPEATED)
    pairs = [(loss, seed) for seed in args.seeds for loss in names if seed == args.seeds[0] or loss in REPEATED]
    runs = []
    for loss, seed in pairs:
        folder = os.path.join(args.output, loss, f"seed{seed}")
        own = [*args.opts, *options[loss], "SEED", str(seed), "OUTPUT_DIR", folder]
        if not os.path.exists(os.path.join(folder, METRICS)):
            runs.append((loss, seed, load_config(args.config_file, own)))
    return runs


@exits_with_sentence
def main(arguments: list[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    setup_logger(name="rle_onestage", abbrev_name="rle")
    seen: Seen | None = None
    tests: dict[str, list] = {}
    for loss, seed, cfg in planned(args):
        seed_everything(seed)
        whole = top_down_model(cfg)
        if seen is None:
            seen = training_features(cfg, whole, args.batches)
            tests = {name: test_features(cfg, whole, name) for name in cfg.DATASETS.TEST}
            logger.info("The trunk has seen %d people to train on", len(seen.people))
            seed_everything(seed)
            whole = top_down_model(cfg)  # with the weights that it has where the features are there
        start, model = time.process_time(), OnFeatures(whole)
        train(cfg, whole, model, seen)
        finish(cfg, whole, model, tests)
        logger.info("%s seed %d: %.0f s of the processor", loss, seed, time.process_time() - start)


if __name__ == "__main__":
    main()
