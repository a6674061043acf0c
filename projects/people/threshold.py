#!/usr/bin/env python3
"""The score threshold of the best F1 on held-out images, and what it gives elsewhere.

python projects/people/threshold.py --output out/threshold --held-out held --backgrounds empty --worst coco_val \\
    --set held H.json --list held held_out.txt --set coco_val A.json DIR --set empty E.json DIR \\
    --results ours held R1.json --results ours coco_val R2.json --results ours empty R3.json \\
    --results movenet held R4.json --results movenet coco_val R5.json

For each model: the threshold of the best F1 at an OKS of 0.5 on the held-out sets, precision and recall there and on
every other set with 95 % intervals over images, the threshold that would be best on each of these, and the share of
images without people that have a detection. Writes
threshold.md, threshold.json, and a page with the worst images of each set of --worst.
"""

import argparse
import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from people_study.bootstrap import draw_images, interval
from people_study.labels import add_set_flags, read_results_of, sets_from, together
from people_study.matching import match
from people_study.operating import curve, images_with_people
from people_study.tables import shown, table
from people_study.worst import draw_worst, mistakes

from rle_onestage.errors import ConfigError, check_score, exits_with_sentence
from rle_onestage.evaluation import write_json
from rle_onestage.evaluation.operating import at_threshold, best_threshold
from rle_onestage.utils.arguments import number, positive_int
from rle_onestage.utils.safe_files import write_text
from rle_onestage.video.io import make_folder

if TYPE_CHECKING:
    from people_study.labels import LabelledSet
    from people_study.matching import Matching


_SHARES = ("precision", "recall", "f1")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_set_flags(parser)
    parser.add_argument("--results", nargs=3, action="append", required=True, metavar=("MODEL", "SET", "FILE"))
    parser.add_argument("--held-out", nargs="+", required=True, metavar="SET", help="where thresholds are chosen")
    parser.add_argument("--backgrounds", nargs="*", default=[], metavar="SET", help="images without people")
    parser.add_argument("--worst", nargs="*", default=[], metavar="SET", help="whose worst images are drawn")
    parser.add_argument("--number", type=positive_int, default=10, metavar="N", help="images on such a page")
    parser.add_argument("--threshold", type=number, metavar="S", help="for all models, instead of the best")
    parser.add_argument("--resamples", type=positive_int, default=1000, metavar="N", help="of the images")
    parser.add_argument("--output", required=True, metavar="FOLDER")
    return parser.parse_args(arguments)


def read_all(sets: "dict[str, LabelledSet]", given: list[list[str]]) -> dict[str, dict[str, list[dict]]]:
    """The files of results: model -> set -> list.

    Raises:
        ConfigError: a set is unknown. DataError: a file cannot be used.
    """
    found: dict[str, dict[str, list[dict]]] = OrderedDict()
    for model, name, path in given:
        if name not in sets:
            raise ConfigError(f"{path} is said to be of set {name}, which --set does not name")
        found.setdefault(model, {})[name] = read_results_of(sets[name], path)
    return found


def measure(
    sets: "dict[str, LabelledSet]",
    results: dict[str, list[dict]],
    held_out: list[str],
    *,
    backgrounds: Sequence[str] = (),
    threshold: float | None = None,
    resamples: int = 1000,
) -> dict[str, Any]:
    """One model.

    Args:
        sets: name -> :class:`~people_study.labels.LabelledSet`.
        results: set -> COCO results.
        held_out: names of the sets that the threshold is chosen on.
        backgrounds: names of the sets without people.
        threshold: instead of the best.
        resamples: of the images.

    Returns:
        dict of ``held_out`` (the row of the threshold), ``sets`` (set -> row there and ``own_best``) and
        ``backgrounds`` (set -> :func:`~people_study.operating.images_with_people`).

    Raises:
        ConfigError: the model has no results on a held-out set.
    """
    missing = [name for name in held_out if name not in results]
    if missing:
        raise ConfigError(f"there are no results on the held-out set {missing[0]}; give them with --results")
    whole = together([sets[name] for name in held_out])
    found = curve(match(whole.labelled, whole.results({name: results[name] for name in held_out})))
    chosen = best_threshold(found) if threshold is None else at_threshold(found, threshold)
    report: dict[str, Any] = {"held_out": chosen, "sets": OrderedDict(), "backgrounds": OrderedDict()}
    for name, own in results.items():
        if name in backgrounds:
            report["backgrounds"][name] = images_with_people(own, sets[name].truth.images, chosen["threshold"])
        elif name not in held_out:
            report["sets"][name] = _row(match(sets[name], own), chosen["threshold"], resamples)
    return report


def _row(matching: "Matching", threshold: float, resamples: int) -> dict[str, Any]:
    row = at_threshold(curve(matching), threshold)
    draws = draw_images(len(matching.image_ids), resamples)
    drawn = [at_threshold(curve(matching, weights), threshold) for weights in draws]
    row["intervals"] = {key: interval(np.array([each[key] for each in drawn])) for key in _SHARES}
    return {**row, "own_best": best_threshold(curve(matching))}


def format_thresholds(report: dict[str, dict[str, Any]]) -> str:
    """Markdown."""
    rows = []
    for model, own in report.items():
        chosen = own["held_out"]
        rows.append((model, "held out", f"{chosen['threshold']:.3f}", *(shown(chosen[key]) for key in _SHARES), ""))
        for name, row in own["sets"].items():
            shares = (f"{shown(row[k])} ({' to '.join(map(shown, row['intervals'][k]))})" for k in _SHARES)
            best = row["own_best"]
            other = f"{best['threshold']:.3f}: {shown(best['precision'])}, {shown(best['recall'])}, {shown(best['f1'])}"
            rows.append((model, name, f"{row['threshold']:.3f}", *shares, other))
    head = ("model", "set", "threshold", "precision", "recall", "F1", "best on that set itself")
    parts = ["At an OKS of 0.5, in percent, with 95 % intervals over images:", table(head, rows)]
    for model, own in report.items():
        for name, row in own["backgrounds"].items():
            text = f"{model}: {row['with_people']} of the {row['images']} images of {name} ({shown(row['share'])} %)"
            parts.append(f"{text} have a detection of {own['held_out']['threshold']:.3f} or more.")
    return "\n\n".join(parts) + "\n"


def draw_pages(
    sets: "dict[str, LabelledSet]",
    results: dict,
    report: dict[str, dict[str, Any]],
    worst: list[str],
    number: int,
    folder: str,
) -> None:
    """The worst images of each model and set; also told in the report."""
    for model, own in results.items():
        for name in (n for n in worst if n in own):
            threshold = report[model]["held_out"]["threshold"]
            rows = mistakes(sets[name], own[name], match(sets[name], own[name]), threshold)[:number]
            draw_worst(sets[name], own[name], rows, threshold, os.path.join(folder, f"worst_{model}_{name}.jpg"))
            report[model].setdefault("worst", {})[name] = [row._asdict() for row in rows]


@exits_with_sentence
def main(arguments: list[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    sets = sets_from(args)
    unknown = [name for name in (*args.held_out, *args.backgrounds, *args.worst) if name not in sets]
    if unknown:
        raise ConfigError(f"there is no set {unknown[0]}; name it with --set")
    results = read_all(sets, args.results)
    if args.threshold is not None:
        check_score(args.threshold, "--threshold")
    options = {"backgrounds": args.backgrounds, "threshold": args.threshold, "resamples": args.resamples}
    report = {model: measure(sets, own, args.held_out, **options) for model, own in results.items()}
    make_folder(args.output)
    draw_pages(sets, results, report, args.worst, args.number, args.output)
    text = format_thresholds(report)
    write_text(os.path.join(args.output, "threshold.md"), text)
    write_json(report, os.path.join(args.output, "threshold.json"))
    print(text)


if __name__ == "__main__":
    main()
