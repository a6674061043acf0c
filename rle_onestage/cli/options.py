"""What several sub-commands share: flags of the config, and the data set that is looked at."""

import argparse
import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rle_onestage import load
from rle_onestage.compat import HOW_TO_INSTALL, HOW_TO_INSTALL_OPENCV
from rle_onestage.console import leaving_at_once
from rle_onestage.errors import ConfigError, PoseError
from rle_onestage.utils.arguments import IMPORT_HELP

if TYPE_CHECKING:
    from detectron2.config import CfgNode

_KEY = re.compile(r"(MODEL|INPUT|DATASETS|DATALOADER|SOLVER|TEST)(\.[A-Z0-9_]+)+")
OPTIONS_HELP = "config keys to change; a list is one word, such as a,b"
# Of the convolutions; the keys of predictor.PRECISIONS, which takes seconds to import.
PRECISIONS = ("float32", "bfloat16", "float16")


def add_config_file(parser: argparse.ArgumentParser, *, default: str | None = None) -> None:
    """Add ``--config-file``.

    Args:
        parser: of a sub-command.
        default: the packaged config that is taken without the flag, None if the flag is required.
    """
    text = "a YAML file, a run's config.yaml, or a config of the package such as coco/rle_onestage_R50_FPN_1x.yaml"
    if default is not None:
        text += f" (default: the package's {default}, with weights of its own)"
    parser.add_argument("--config-file", required=default is None, metavar="FILE", help=text)


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Add ``--precision``."""
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="of the convolutions")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what changes the config: ``KEY VALUE`` pairs that may stand anywhere, and ``--import``.

    :func:`parse_options` reads the pairs, :func:`read_config` imports the modules.
    """
    parser.add_argument("--import", dest="imports", action="append", default=[], metavar="MODULE", help=IMPORT_HELP)
    parser.add_argument("options", nargs="*", metavar="KEY VALUE", help=OPTIONS_HELP)
    add_options_flag(parser)


def add_options_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--opts``, for a parser that has a positional argument ``options``."""
    parser.add_argument(
        "--opts", nargs="*", action="extend", default=[], metavar="KEY VALUE", help="the same behind a flag"
    )


def parse_options(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse a command line of :func:`add_options`; all pairs are in ``opts``.

    Pairs that stand right behind the paths of ``--input`` are pairs too, as far as they look like keys.
    """
    args = parser.parse_intermixed_args(arguments)
    inputs = list(getattr(args, "input", None) or ())
    at = next((i for i, word in enumerate(inputs) if i and _KEY.fullmatch(word)), len(inputs))
    if inputs:
        args.input = inputs[:at]
    args.opts = [*inputs[at:], *args.opts, *args.options]
    return args


def start(*, log: bool = True) -> None:
    """Load the package; the first thing that a sub-command does after reading its command line.

    Args:
        log: whether the package's log goes to stdout.

    Raises:
        PoseError: Detectron2 or OpenCV is not there; the message says what to run.
    """
    try:
        with leaving_at_once():
            load()
    except ImportError as error:
        if str(error) not in (HOW_TO_INSTALL, HOW_TO_INSTALL_OPENCV):
            raise
        raise PoseError(str(error)) from error
    if log:
        from detectron2.utils.logger import setup_logger

        setup_logger(name="rle_onestage", abbrev_name="rle")
        logging.getLogger("rle_onestage").setLevel(logging.INFO)  # what is below is for developers


def read_config(args: argparse.Namespace, *, packaged: str = "") -> "CfgNode":
    """The config that ``--config-file`` and the options ask for.

    Args:
        args: with ``config_file``, ``opts`` and ``imports``.
        packaged: the package's config that is taken without ``--config-file``, whatever file has its name here.
    """
    from rle_onestage.engine.config.imports import KEY as IMPORTS
    from rle_onestage.engine.config.schema import settle
    from rle_onestage.engine.setup import load_config
    from rle_onestage.utils.packaged_files import CONFIGS

    path = args.config_file or (str(CONFIGS / packaged) if packaged else "")
    return load_config(path, args.opts, imports=settle(IMPORTS, args.imports, [], "--import"))


def test_set(cfg: "CfgNode", given: str | None) -> str:
    """The data set of ``--dataset``, or else the first of ``DATASETS.TEST``.

    Raises:
        ConfigError: neither names one, or there is none of this name.
        DataError: its annotation file is missing.
    """
    from rle_onestage.data.lookup import check_sets

    if not (given or cfg.DATASETS.TEST):
        raise ConfigError("DATASETS.TEST is empty; name the data set with --dataset")
    name = given or cfg.DATASETS.TEST[0]
    check_sets(cfg, [], needed=[name])
    return name
