#!/usr/bin/env python3
"""Images that stand in several sets, by content: copies, also mirrored, of another size or compression.

python projects/people/duplicates.py --set coco_train DIR --set street DIR --test coco_val DIR --output out/duplicates

Writes duplicates.md, duplicates.json, pairs.jpg (every pair, to look at) and exclude.txt: the images of training sets
("set/file", one a line) of which a copy stands in a test set.
"""

import argparse
import os
from typing import TYPE_CHECKING, Any

from people_study.hashes import BITS, SAME, find_pairs, read_images, same_names
from people_study.tables import table

from rle_onestage.errors import ConfigError, exits_with_sentence
from rle_onestage.evaluation import write_json
from rle_onestage.utils.arguments import natural_int, positive_float
from rle_onestage.utils.images import read_image
from rle_onestage.utils.safe_files import write_text
from rle_onestage.video.io import make_folder, write_image
from rle_onestage.visualization import contact_sheet

if TYPE_CHECKING:
    from people_study.hashes import Images


DRAWN = 120  # pairs on the page, most alike first


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    pair: dict[str, Any] = {"nargs": 2, "action": "append", "default": [], "metavar": ("NAME", "FOLDER")}
    parser.add_argument("--set", dest="train", help="to train on", **pair)
    parser.add_argument("--test", help="never to be trained on", **pair)
    parser.add_argument("--bits", type=natural_int, default=BITS, metavar="N", help="of 64 that may differ")
    parser.add_argument("--same", type=positive_float, default=SAME, metavar="R", help="correlation of copies")
    parser.add_argument("--within", action="store_true", help="also pairs of the same set")
    parser.add_argument("--output", required=True, metavar="FOLDER")
    return parser.parse_args(arguments)


def find(
    train: dict[str, str], test: dict[str, str], *, bits: int = BITS, same: float = SAME, within: bool = False
) -> "tuple[dict[str, Any], Images]":
    """Look for copies.

    Args:
        train: training set -> folder.
        test: test set -> folder.
        bits: see :func:`~people_study.hashes.find_pairs`.
        within: see :func:`~people_study.hashes.find_pairs`.
        same: correlation from which a pair is a copy.

    Returns:
        (report, the images): the report is a dict of ``images`` (of each set), ``unreadable``, ``pairs`` (dicts of
        ``first``, ``second`` ("set/file"), ``bits``, ``mirrored``, ``correlation``, ``copy``), ``exclude`` (sorted
        "set/file" of training sets with a copy in a test set) and ``same_names``.
    """
    folders = {**train, **test}
    images, unreadable = read_images(folders)
    names = [f"{s}/{os.path.basename(path)}" for s, path in zip(images.sets, images.paths)]
    rows: list[dict[str, Any]] = []
    exclude: set[str] = set()
    for pair in find_pairs(images, bits=bits, within=within):
        copy = pair.correlation >= same
        row = {"first": names[pair.first], "second": names[pair.second], "bits": pair.bits}
        rows.append({**row, "mirrored": pair.mirrored, "correlation": pair.correlation, "copy": copy})
        for one, other in ((pair.first, pair.second), (pair.second, pair.first)):
            if copy and images.sets[one] in train and images.sets[other] in test:
                exclude.add(names[one])
    counts = {name: images.sets.count(name) for name in folders}
    report = {"images": counts, "unreadable": unreadable, "bits": bits, "same": same, "pairs": rows}
    return {**report, "exclude": sorted(exclude), "same_names": same_names(folders)}, images


def format_found(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    counts = ", ".join(f"{name} {count}" for name, count in report["images"].items())
    copies = [row for row in report["pairs"] if row["copy"]]
    parts = [
        f"Images: {counts}.",
        f"{len(report['pairs'])} pairs within {report['bits']} of 64 bits; {len(copies)} of them are copies "
        f"(correlation of the grey values at least {report['same']:g}).",
        "To be kept out of training, because a copy stands in a test set: " + (", ".join(report["exclude"]) or "none"),
        "Names in several sets: "
        + ("; ".join(f"{n} ({', '.join(s)})" for n, s in report["same_names"].items()) or "none"),
        *report["unreadable"],
    ]
    rows = [
        (r["first"], r["second"], r["bits"], "yes" if r["mirrored"] else "", f"{r['correlation']:.3f}",
         "yes" if r["copy"] else "")
        for r in report["pairs"]
    ]  # fmt: skip
    parts.append(table(("first", "second", "bits", "mirrored", "correlation", "copy"), rows))
    return "\n\n".join(parts) + "\n"


def draw_pairs(report: dict[str, Any], images: "Images", output: str) -> None:
    """Every pair side by side, most alike first."""
    place = {f"{s}/{os.path.basename(p)}": p for s, p in zip(images.sets, images.paths)}
    tiles, captions = [], []
    for row in report["pairs"][:DRAWN]:
        tiles += [read_image(place[row[key]]) for key in ("first", "second")]
        mirrored = ", mirrored" if row["mirrored"] else ""
        captions += [row["first"], f"{row['second']}  {row['bits']} bits, {row['correlation']:.2f}{mirrored}"]
    write_image(output, contact_sheet(tiles, 6, captions=captions, tile=(300, 220)))


@exits_with_sentence
def main(arguments: list[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    train, test = dict(args.train), dict(args.test)
    if len({**train, **test}) < len(args.train) + len(args.test):
        raise ConfigError("two sets have the same name; every --set and --test needs its own")
    if len({**train, **test}) < 1 + (not args.within):
        raise ConfigError("one set alone has no copies in others; name more with --set and --test, or give --within")
    make_folder(args.output)
    report, images = find(train, test, bits=args.bits, same=args.same, within=args.within)
    if report["pairs"]:
        draw_pairs(report, images, os.path.join(args.output, "pairs.jpg"))
    text = format_found(report)
    write_text(os.path.join(args.output, "duplicates.md"), text)
    write_text(os.path.join(args.output, "exclude.txt"), "".join(f"{name}\n" for name in report["exclude"]))
    write_json(report, os.path.join(args.output, "duplicates.json"))
    print(text)


if __name__ == "__main__":
    main()
