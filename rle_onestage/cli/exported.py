"""Exported files in place of a config and weights: flags, and what they cannot go with."""

import argparse
import os
from typing import TYPE_CHECKING

from rle_onestage.errors import ConfigError, MediaError
from rle_onestage.utils.arguments import positive_int
from rle_onestage.utils.near import near_file, what_is_wrong
from rle_onestage.utils.packaged_files import MODELS, find_config, near_names

if TYPE_CHECKING:
    from rle_onestage.export import ExportedPredictor

_ENDINGS = (".onnx", ".xml", ".pt", ".pt2", ".pte", ".tflite")  # of the package's formats that it runs
_FOLDER = ".mlpackage"  # of a format that is a folder, and that it does not run


def add_exported(parser: argparse.ArgumentParser) -> None:
    """Add ``--model``, ``--threads`` and ``--providers``; :func:`check_exported` looks at them."""
    parser.add_argument(
        "--model", metavar="NAME|FILE",
        help=f"a model that comes with the package ({', '.join(MODELS)}), or a file of rle-onestage export (.onnx, "
        ".xml, ...), instead of a config and weights",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=positive_int, metavar="N", help="of the runtime of --model (default: one a core)"
    )
    parser.add_argument(
        "--providers", nargs="+", default=[], metavar="NAME",
        help="where the runtime of --model computes: execution providers of ONNX Runtime in order of preference, or a "
        "device of OpenVINO (default: the CPU)",
    )  # fmt: skip


def settle_model(args: argparse.Namespace) -> None:
    """Put the config of a model that comes with the package in the place of its name.

    Raises:
        ConfigError: there is another config too.
    """
    if args.model not in MODELS:  # a folder of that name may be what `predict` has written
        return
    if args.config_file:
        raise ConfigError(f"--model {args.model} and --config-file {args.config_file} are two models; give one of them")
    args.config_file, args.model = str(find_config(MODELS[args.model])), None


def check_exported(args: argparse.Namespace) -> None:
    """Whether the flags of :func:`add_exported` are of use, and the file is there. Nothing is loaded yet.

    Raises:
        ConfigError: a flag has nothing to do, or would change what the file has fixed.
        MediaError: there is no such file.
    """
    if args.model is None:
        given = [flag for flag in ("threads", "providers") if getattr(args, flag)]
        if given:
            raise ConfigError(f"--{given[0]} is for exported files; give one with --model, or leave it out")
        return
    if not args.model.rstrip(os.sep).endswith(_FOLDER) and (wrong := what_is_wrong(args.model)):
        near = " or ".join(filter(None, [near_file(args.model, _ENDINGS), *near_names(args.model, list(MODELS))]))
        raise MediaError(
            f"exported file {args.model or repr(args.model)} {wrong}; "
            f"{f'did you mean {near}?' if near else 'check --model, or write it with rle-onestage export'}"
        )
    changes = list(args.opts[:1])
    if args.config_file:
        changes.insert(0, f"--config-file {args.config_file}")
    if changes:
        raise ConfigError(
            f"{changes[0]} cannot change {args.model}, which has its config and weights in it; leave out one of the "
            "two, or export again"
        )
    if args.precision != "float32" and not args.model.endswith(".xml"):
        raise ConfigError(
            f"--precision {args.precision} cannot change {args.model}, whose numbers have the type that they were "
            "exported with; leave it out"
        )


def load_exported(args: argparse.Namespace, *, several: bool) -> "ExportedPredictor":
    """The file of ``--model``, loaded.

    Args:
        args: with the flags of :func:`add_exported`, and ``precision``.
        several: whether :func:`~rle_onestage.demo.pipeline.predict` looks at several frames at once, which share
            the threads.
    """
    import torch

    from rle_onestage.demo.pipeline import workers_of
    from rle_onestage.engine.config.imports import import_modules
    from rle_onestage.export import load

    import_modules(args.imports)  # formats of one's own
    threads = args.threads or torch.get_num_threads()
    torch.set_num_threads(threads)  # which the number of workers goes by
    workers = workers_of(threads) if several else 1
    return load(args.model, threads=threads, providers=args.providers, precision=args.precision, workers=workers)
