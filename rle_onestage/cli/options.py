"""What several sub-commands share: flags of the config, and the data set that is looked at."""

import argparse
import logging
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rle_onestage import load
from rle_onestage.compat import NEEDS
from rle_onestage.console import leaving_at_once
from rle_onestage.errors import ConfigError, PoseError, cut
from rle_onestage.utils.arguments import IMPORT_HELP

if TYPE_CHECKING:
    from detectron2.config import CfgNode

    from rle_onestage.engine.setup import Task

_KEY = re.compile(r"(MODEL|INPUT|DATASETS|DATALOADER|SOLVER|TEST)(\.[A-Z0-9_]+)+")
# What begins with a minus and is no flag: also 1e-3 and lists such as -1,3.
_NEGATIVE = re.compile(r"-\.?\d")
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
    text = "of the convolutions (default: float32)"
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help=text)


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

    Pairs that stand right behind the values of a flag are pairs too, as far as they look like keys. Values may begin
    with a minus.

    Args:
        parser: of the command.
        arguments: without the program's name; None takes those of this process.
    """
    parser._negative_number_matcher = _NEGATIVE
    args = parser.parse_intermixed_args(_with_opts(parser, sys.argv[1:] if arguments is None else arguments))
    bare = dict(zip(args.options[0::2], args.options[1::2]))
    for key, value in zip(args.opts[0::2], args.opts[1::2]):
        if bare.get(key, value) != value:  # argparse does not tell which of them came last
            parser.error(f"{cut(key, 120)} is given behind --opts and without; give it once")
    args.opts = [*args.opts, *args.options]
    return args


def _with_opts(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """The command line with ``--opts`` before a key of the config that a flag would take for one of its values."""
    result: list[str] = []
    takes: int | str | None = 0  # the flag before, as argparse's nargs
    values = 0  # that it has
    for word in words:
        action = _action_of(parser, word)
        if action or word == "--":
            takes, values = action.nargs if action else 0, -1
        elif takes in ("+", "?") and values >= (takes == "+") and _KEY.fullmatch(word):
            result.append("--opts")
            takes = 0
        result.append(word)
        values += 1
    return result


def _action_of(parser: argparse.ArgumentParser, word: str) -> argparse.Action | None:
    """What a flag sets, also where it is abbreviated; None for other words."""
    known = parser._option_string_actions
    meant = [flag for flag in known if flag.startswith(word)] if word.startswith("--") and len(word) > 2 else []
    return known.get(word) or (known[meant[0]] if len(meant) == 1 else None)


def start(*, log: bool = True) -> None:
    """Load the package; the first thing that a sub-command does after reading its command line.

    Args:
        log: whether the package's log goes to stdout.

    Raises:
        PoseError: Detectron2, OpenCV or a torchvision that fits is not there; the message says what to run.
    """
    try:
        with leaving_at_once():
            load()
    except ImportError as error:
        if not str(error).startswith(NEEDS):
            raise
        raise PoseError(str(error)) from error
    if logging.lastResort:  # which takes the warnings of a command, or of a part of it, that has no log
        logging.lastResort.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    if log:
        from detectron2.utils.logger import setup_logger

        setup_logger(name="rle_onestage", abbrev_name="rle")
        logging.getLogger("rle_onestage").setLevel(logging.INFO)  # what is below is for developers


def read_config(
    args: argparse.Namespace, *, packaged: str = "", task: "Task" = "training", say_sizes: bool = True
) -> "CfgNode":
    """The config that ``--config-file`` and the options ask for.

    Args:
        args: with ``config_file``, ``opts`` and ``imports``.
        packaged: the package's config that is taken without ``--config-file``, whatever file has its name here.
        task: see :func:`~rle_onestage.load_config`.
        say_sizes: see there.
    """
    from rle_onestage.engine.config.imports import KEY as IMPORTS
    from rle_onestage.engine.config.schema import settle
    from rle_onestage.engine.setup import load_config
    from rle_onestage.utils.packaged_files import CONFIGS

    path = args.config_file or (str(CONFIGS / packaged) if packaged else "")
    imports = settle(IMPORTS, args.imports, [], "--import")
    return load_config(path, args.opts, imports=imports, task=task, say_sizes=say_sizes)


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
