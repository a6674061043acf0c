"""Convert a data set between COCO's keypoint format and YOLO-pose (Ultralytics' format), or pack it into shards.

rle-onestage convert-dataset --input own/data.yaml:val --output val.json
rle-onestage convert-dataset --input train=own/train.json val=own/val.json --images own/images --output own_yolo
rle-onestage convert-dataset --input train=own/train.json --images own/images --shards tar --output own_shards
rle-onestage convert-dataset --input own/data.yaml:train own/data.yaml:val --shards parquet --output own_shards

What a format has no place for is named. A set need not be converted to train on it.
"""

import argparse
import contextlib
import sys
from collections.abc import Sequence

from rle_onestage.cli.checks import check_file, check_output, check_output_folder
from rle_onestage.cli.options import start
from rle_onestage.errors import ConfigError, counted, exits_with_sentence
from rle_onestage.utils.arguments import CommandParser, positive_int
from rle_onestage.utils.label_address import ENDINGS, split_address
from rle_onestage.utils.output_files import is_stdout
from rle_onestage.utils.shards import shard_kind

SPLITS = ("train", "val", "test")
STARTS = tuple(f"{split}=" for split in SPLITS)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = CommandParser("convert-dataset", __doc__)
    parser.add_argument(
        "--input", nargs="+", required=True, metavar="LABELS",
        help="a split of a YOLO-pose set, data.yaml:val; or for each split to write a file of COCO's format, val=file",
    )  # fmt: skip
    parser.add_argument(
        "--images", nargs="+", default=[], metavar="DIR", help="of COCO's format: the images of all files, or of each"
    )
    parser.add_argument("--link", action="store_true", help="link to the images instead of copying them to YOLO-pose")
    parser.add_argument(
        "--shards", choices=("tar", "parquet"),
        help="pack images and labels into shards: tar archives (WebDataset's layout), or Parquet files",
    )  # fmt: skip
    parser.add_argument(
        "--shard-mb", type=positive_int, default=256, metavar="MB", help="of images in a shard (default: 256)"
    )
    parser.add_argument(
        "--output", required=True, metavar="PATH", help="the JSON file, or the new folder of YOLO-pose or shards"
    )
    return parser.parse_args(arguments)


@exits_with_sentence
def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    if args.shards:
        _pack(args)
        return
    if any(_is_yolo(given) for given in args.input):
        if len(args.input) > 1 or args.images or args.link:
            raise ConfigError("one split of a YOLO-pose set becomes one file: give --input and --output alone")
        check_file(args.input[0], "--input")
        check_output(args.output, "--output")
        # A file that goes to stdout is not mixed with the log.
        with contextlib.redirect_stdout(sys.stderr) if is_stdout(args.output) else contextlib.nullcontext():
            start()
            from rle_onestage.data.conversion import yolo_to_coco

            print("\n".join(yolo_to_coco(args.input[0], args.output)))
        return
    for given in args.input:
        labels = given.partition("=")[2]
        if labels and _is_yolo(labels):
            raise ConfigError(
                f"--input {given} gives a name to a YOLO-pose set, which has its own; leave the name out: {labels}"
            )
    splits = _splits(args.input, args.images)
    for _, labels, _ in splits:
        check_file(labels, "--input")
    check_output_folder(args.output, "--output")
    start()
    from rle_onestage.data.yolo.writing import CocoSplit, write_yolo

    print("\n".join(write_yolo([CocoSplit(*split) for split in splits], args.output, link=args.link)))


def _pack(args: argparse.Namespace) -> None:
    """Write shards."""
    if args.link:
        raise ConfigError("--link links to images, and shards have them inside; leave one of --link and --shards out")
    named = [given if given.startswith(STARTS) else f"{_split_name(given)}={given}" for given in args.input]
    needed = [given for given in named if not _says_images(given.partition("=")[2])]
    if args.images and len(needed) < len(named):
        raise ConfigError("--images is given, but a data.yaml and shards say themselves where their images are")
    if needed and not args.images:
        raise ConfigError(f"--images is missing: {needed[0].partition('=')[2]} does not say where its images are")
    splits = _splits(named, args.images or [""])
    for _, labels, _ in splits:
        check_file(labels, "--input")
    check_output_folder(args.output, "--output")
    start()
    from rle_onestage.data.shards.writing import ShardSplit, write_shards

    packed = [ShardSplit(*split) for split in splits]
    print("\n".join(write_shards(packed, args.output, kind=args.shards, size=args.shard_mb * 2**20)))


def _split_name(given: str) -> str:
    """The split that labels without a name are: that of an address, or "" where nothing tells."""
    address = split_address(given)
    return address.split if address else ""


def _says_images(labels: str) -> bool:
    """Whether labels say themselves where their images are."""
    return split_address(labels) is not None or shard_kind(labels) != ""


def _is_yolo(given: str) -> bool:
    """Whether an input is a data.yaml, with its split or without."""
    return not given.startswith(STARTS) and bool(split_address(given) or given.lower().endswith(ENDINGS))


def _splits(inputs: Sequence[str], images: Sequence[str]) -> list[tuple[str, str, str]]:
    """(split, labels, images) of each file of COCO's format."""
    pairs = [given.partition("=")[::2] for given in inputs]
    for given, (name, labels) in zip(inputs, pairs):
        if name not in SPLITS or not labels:
            raise ConfigError(
                f"--input {given} does not say which split a file becomes; write train=FILE, val=FILE or test=FILE, or "
                "for a YOLO-pose set data.yaml:val"
            )
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ConfigError(f"--input names a split twice ({', '.join(names)}); give each split one file")
    if not images:
        raise ConfigError(f"--images is missing; give the folder of the images of {pairs[0][1]}")
    if len(images) not in (1, len(pairs)):
        raise ConfigError(
            f"--images has {counted(len(images), 'folder')} for {counted(len(pairs), 'file')}; give one for all, or "
            "one for each"
        )
    folders = images if len(images) == len(pairs) else list(images) * len(pairs)
    return [(name, labels, folder) for (name, labels), folder in zip(pairs, folders)]
