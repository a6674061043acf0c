#!/usr/bin/env python3
"""Run a model of ours on labelled sets at several sides and write COCO results, for report.py and threshold.py.

python projects/people/run_model.py --config-file C --weights W --name ours --side 320 448 640 --output out \\
    --set coco_val A.json DIR --set micro B.json DIR --opts MODEL.RLE_ONESTAGE.TEST.OKS_POWER 0

Writes NAME_SET_SIDE.json, and beside it the nats of each labelled person's joints. What is there already is not done
again; a folder that has results of another model under that name is refused.
"""

import argparse
import hashlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from people_study.labels import add_set_flags, sets_from
from people_study.runs import Ours, add_model_flags, config_at

from rle_onestage.errors import ConfigError, exits_with_sentence
from rle_onestage.utils.arguments import positive_int
from rle_onestage.utils.safe_files import local_path, write_text
from rle_onestage.video.io import make_folder

if TYPE_CHECKING:
    from people_study.labels import LabelledSet


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_flags(parser)
    parser.add_argument("--name", required=True, help="of the model")
    parser.add_argument("--side", type=positive_int, nargs="+", default=[320, 448, 640], metavar="N")
    add_set_flags(parser)
    parser.add_argument("--threads", type=positive_int, metavar="N")
    parser.add_argument("--output", required=True, metavar="FOLDER")
    return parser.parse_args(arguments)


def results_file(folder: str, model: str, set_name: str, side: int) -> str:
    """Where the results of a model lie."""
    return os.path.join(folder, f"{model}_{set_name}_{side}.json")


def check_model(folder: str, name: str, config_file: str, weights: str | None, options: Sequence[str]) -> None:
    """Keep in the folder which model ``name`` is.

    Raises:
        ConfigError: it is another one there: another config, other options or other weights.
    """
    cfg = config_at(config_file, 640, options)
    with open(local_path(weights or cfg.MODEL.WEIGHTS), "rb") as file:
        own = hashlib.sha256(cfg.dump().encode() + file.read()).hexdigest()
    path = os.path.join(folder, f"{name}.sha256")
    if not os.path.exists(path):
        write_text(path, own + "\n")
    with open(path, encoding="utf-8") as file:
        if file.read().strip() != own:
            raise ConfigError(
                f"{folder} has results of another model called {name} (other weights, config or options); give another "
                "--name or --output, or remove them"
            )


def run(
    config_file: str,
    weights: str | None,
    name: str,
    sides: list[int],
    sets: "list[LabelledSet]",
    folder: str,
    *,
    options: Sequence[str] = (),
    threads: int | None = None,
) -> None:
    """Write what is missing.

    Args:
        config_file: see :class:`~people_study.runs.Ours`.
        weights: see :class:`~people_study.runs.Ours`.
        options: see :class:`~people_study.runs.Ours`.
        threads: see :class:`~people_study.runs.Ours`.
        name: of the model.
        sides: pixels.
        sets: list of :class:`~people_study.labels.LabelledSet`.
        folder: for the files.
    """
    check_model(folder, name, config_file, weights, options)
    for side in sides:
        todo = [s for s in sets if not os.path.exists(results_file(folder, name, s.name, side))]
        if not todo:
            continue
        model = Ours(config_file, side, weights=weights, options=options, threads=threads)
        for labelled in todo:
            path = results_file(folder, name, labelled.name, side)
            print(f"{path}: {len(model.write(labelled, path))} people in {len(labelled.truth.images)} images")


@exits_with_sentence
def main(arguments: list[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    make_folder(args.output)
    sets = list(sets_from(args).values())
    options = {"options": args.opts, "threads": args.threads}
    run(args.config_file, args.weights, args.name, args.side, sets, args.output, **options)


if __name__ == "__main__":
    main()
