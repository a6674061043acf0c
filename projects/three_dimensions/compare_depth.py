"""Train one-stage pose with depth under several losses on synthetic people, and compare the errors in space.

python projects/three_dimensions/compare_depth.py --output output/three_d
python projects/three_dimensions/compare_depth.py --output output/three_d --losses rle l1 --opts SOLVER.MAX_ITER 4000

What is done is not done again: the same command goes on after a stop. With other options it refuses the folder.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence

from three_dimensions.measure import METRICS, density_nats, measure, of_the_same_people, resampled

from rle_onestage.engine.config.same_training import check_same_training
from rle_onestage.engine.setup import load_config
from rle_onestage.errors import PoseError, exits_with_sentence
from rle_onestage.evaluation import write_json
from rle_onestage.evaluation.space import space_metrics
from rle_onestage.modeling.density import build_density
from rle_onestage.structures.skeleton import COCO
from rle_onestage.utils.tables import table_text

HERE = os.path.dirname(os.path.abspath(__file__))
LOSSES = ("rle", "laplace", "l1")
DATASET = "rle_synthetic_val"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default="output/three_d", help="folder of the runs and of results.json")
    parser.add_argument("--losses", nargs="+", default=list(LOSSES), metavar="LOSS", help="configs of this project")
    parser.add_argument("--share", type=float, default=0.5, help="of the test images to fit corrections on")
    parser.add_argument("--resamples", type=int, default=500, help="of the held-out images, for intervals")
    parser.add_argument("--steps", type=int, default=400, help="of the fits of densities in three dimensions")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="options of the config, for all trainings")
    return parser.parse_args(arguments)


def config_of(loss: str) -> str:
    """The path of its config."""
    return os.path.join(HERE, "configs", f"{loss}.yaml")


def train(config: str, loss: str, folder: str, opts: Sequence[str]) -> None:
    """Train one model, or go on with it. A process of its own frees its memory at the end."""
    if not os.path.isfile(os.path.join(folder, "model_final.pth")):
        command = [sys.executable, "-m", "rle_onestage.cli", "train", "--config-file", config, "--resume"]
        code = subprocess.run([*command, "OUTPUT_DIR", folder, *opts], check=False).returncode
        if code:
            raise PoseError(
                f"the training of {loss} ended with {code}; see what it printed, and run this command again"
            )


@exits_with_sentence
def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    folders = {loss: os.path.abspath(os.path.join(args.output, loss)) for loss in args.losses}
    configs = {loss: config_of(loss) for loss in args.losses}
    for loss, folder in folders.items():  # before hours of training
        check_same_training(folder, load_config(configs[loss], ["OUTPUT_DIR", folder, *args.opts]))
    for loss, folder in folders.items():
        train(configs[loss], loss, folder, args.opts)
    found = {}
    for loss, folder in folders.items():
        weights = ["OUTPUT_DIR", folder, "MODEL.WEIGHTS", os.path.join(folder, "model_final.pth")]
        cfg = load_config(configs[loss], [*args.opts, *weights])
        found[loss] = measure(cfg, DATASET, share=args.share, resamples=args.resamples)
    report = {loss: dict(one.row) for loss, one in found.items()}
    for loss, matches in of_the_same_people({loss: one.matches for loss, one in found.items()}).items():
        same = space_metrics(matches, COCO.names)
        report[loss]["same people"] = {name: same[name] for name in (*METRICS, "people")}
        report[loss]["same people"]["95 %"] = resampled(matches, COCO.names, args.resamples)
    write_json(report, os.path.join(args.output, "results.json"))  # the fits that follow take minutes
    if "rle" in found:
        residuals = found["rle"].residuals
        report["density"] = {
            "labels": [len(part) for part in residuals],
            "one of three dimensions": density_nats(residuals, [build_density("rle", dims=3)], args.steps),
            "two and one": density_nats(residuals, [build_density("rle", dims=d) for d in (2, 1)], args.steps),
            "laplace": density_nats(residuals, [build_density("laplace", dims=3)], args.steps),
        }
        write_json(report, os.path.join(args.output, "results.json"))
    print(tables(report))


def tables(report: dict) -> str:
    """The report as text."""
    losses = [name for name in report if name != "density"]
    errors = [
        [loss, *(report[loss][name] for name in METRICS), report[loss]["found"], report[loss]["keypoint AP"]]
        for loss in losses
    ]
    same = [
        [loss, *("{:.1f} ({:.1f} to {:.1f})".format(row[name], *row["95 %"][name]) for name in METRICS)]
        for loss in losses
        for row in [report[loss]["same people"]]
    ]
    held = [
        [f"{loss}, {when}", *report[loss][key]["depth"].values()]
        for loss in losses
        for key, when in (("held before", "as learned"), ("held", "corrected"))
    ]
    levels = [f"{level} %" for level in report[losses[0]]["held"]["depth"]]
    parts = [
        table_text(errors, ["millimetres", *METRICS, "found %", "keypoint AP"]),
        table_text(same, ["same people, 95 %", *METRICS]),
        table_text(held, ["depths within intervals (%)", *levels]),
    ]
    if "density" in report:
        rows = [[name, value] for name, value in report["density"].items() if name != "labels"]
        parts.append(table_text(rows, ["density of the residuals", "nats a joint"]))
    return "\n\n".join(parts)


if __name__ == "__main__":
    main()
