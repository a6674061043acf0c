"""Draw what the model is fed, or what the annotation files say.

rle-onestage visualize-data --config-file quickstart.yaml --source dataloader --output output/data
rle-onestage visualize-data --config-file C --source annotation --number 40 DATASETS.TRAIN "('my_set',)"

Left is blue, right is orange; hidden joints are hollow. White boxes are people, grey ones are crowds and slivers that
training ignores. Beside the images, page.png has the first of them on one page.
"""

import argparse
import contextlib
import os
import re
from collections.abc import Sequence

from rle_onestage.cli.checks import check_config, check_output_folder
from rle_onestage.cli.options import add_options, parse_options, read_config, start
from rle_onestage.errors import counted, exits_with_sentence
from rle_onestage.utils.arguments import CommandParser, positive_int


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = CommandParser("visualize-data", __doc__)
    parser.add_argument("--config-file", default="", metavar="FILE", help="the config whose DATASETS.TRAIN is drawn")
    parser.add_argument(
        "--source", choices=("annotation", "dataloader"), default="dataloader",
        help="the files' labels, or what the loader makes of them in a training (default: dataloader)",
    )  # fmt: skip
    # Named as in the other commands here; --output-dir is the name in Detectron2's tool.
    parser.add_argument(
        "--output", "--output-dir", default="output/data", metavar="DIR", help="to write to (default: output/data)"
    )
    parser.add_argument(
        "--number", "--num", type=positive_int, default=24, metavar="N", help="how many images (default: 24)"
    )
    parser.add_argument("--with-people", action="store_true", help="leave out images on which nobody is labelled")
    add_options(parser)
    return parse_options(parser, arguments)


def drawn_in(folder: str) -> dict[str, int]:
    """Find the images that earlier calls of this command drew.

    Args:
        folder: that they were written to.

    Returns:
        {file name: time at which the file was last written, in nanoseconds}; empty if the folder cannot be read.
    """
    drawn = re.compile(r"\d{4,}_.*\.jpg")
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return {entry.name: entry.stat().st_mtime_ns for entry in entries if drawn.fullmatch(entry.name)}
    return {}


@exits_with_sentence
def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    check_config(args.config_file, args.opts)
    check_output_folder(args.output, "--output")
    start(log=False)
    from rle_onestage.visualization.labels import draw_dataset

    cfg = read_config(args)
    earlier = drawn_in(args.output)
    augmented = args.source == "dataloader"
    count, has_more = draw_dataset(
        cfg, args.output, augmented=augmented, number=args.number, with_people=args.with_people
    )
    more = f", the first; --number {2 * count} draws more" if has_more else ""
    print(f"{counted(count, 'image is', 'images are')} in {args.output}{more}")
    kept = len(earlier.items() & drawn_in(args.output).items())
    if kept:
        print(f"{counted(kept, 'image', 'images')} of an earlier call {'is' if kept == 1 else 'are'} there too")
