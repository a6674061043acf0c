"""From the command line to a frozen config: reading, checking, seeding, logging."""

import argparse
import logging
import os
import random
import secrets
import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.engine import default_argument_parser
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from rle_onestage.console import is_first_on_machine
from rle_onestage.data.sampler import check_shares
from rle_onestage.engine.checkpoint import last_checkpoint, read_checkpoint
from rle_onestage.engine.checkpoint.resume import recorded_seed
from rle_onestage.engine.config.conflicts import (
    describe_size,
    input_sizes,
    say_sizes_of,
    settle_test_size,
    warn_of_conflicts,
)
from rle_onestage.engine.config.files import ConfigFile, merge_dict, merge_options, read_yaml, without
from rle_onestage.engine.config.imports import KEY as IMPORTS
from rle_onestage.engine.config.imports import import_modules, where
from rle_onestage.engine.config.names import listed_names, own_parts
from rle_onestage.engine.config.schema import known_defaults, settle
from rle_onestage.engine.config.validation import from_elsewhere, validate
from rle_onestage.engine.device import describe_device, seed_devices, settle_device
from rle_onestage.engine.logs import LogFile, logged_later
from rle_onestage.engine.processes import attempts, lock
from rle_onestage.errors import EXIT_CODE, ConfigError
from rle_onestage.utils.arguments import IMPORT_HELP, natural_int, positive_int

logger = logging.getLogger("rle_onestage")

Task = Literal["training", "evaluation", "inference"]
_IN_TRAINING = ("MODEL.RLE_ONESTAGE.ASSIGN.NAME", "INPUT.AUGMENTATIONS", "SOLVER.HOOKS")
# Keys that name parts which a task does not use. A mapper reads the images of an evaluation too.
_UNUSED: dict[Task, tuple[str, ...]] = {
    "training": (),
    "evaluation": _IN_TRAINING,
    "inference": (*_IN_TRAINING, "INPUT.MAPPER", "TEST.EVALUATORS"),
}


def load_config(
    config_file: str = "",
    opts: Sequence[Any] | None = (),
    *,
    imports: Sequence[str] = (),
    task: Task = "training",
    say_sizes: bool = True,
) -> CfgNode:
    """The one way to make a config: defaults, then the file and its bases, then ``KEY VALUE`` options.

    The modules that its ``IMPORTS`` names are imported first, so that the names that they register are known.

    Args:
        config_file: a YAML file, or "" for the defaults alone.
        opts: ``[KEY, VALUE, ...]``.
        imports: modules beside those of ``IMPORTS``, which has them all afterwards.
        task: what the config is for. Where the file's ``IMPORTS`` names a module that is not on this machine,
            ``training`` is an error. ``evaluation`` and ``inference`` give a warning, and parts that they do not use
            are the default ones: augmentations, hooks and the assigner; for ``inference`` also the mapper and
            evaluators.
        say_sizes: log where the sizes of images in training and at test differ; for callers that use neither, False.

    Returns:
        A frozen ``CfgNode``; ``MODEL.DEVICE`` is "cpu" where CUDA was asked for and there is none (with a warning).
        Keys that have no effect because of others get a warning, see :mod:`rle_onestage.engine.config.conflicts`.

    Raises:
        ConfigError: a file, key, type or value is wrong, or a module cannot be imported.
    """
    cfg = _merged(config_file, opts, imports, task)
    try:
        cfg.MODEL.DEVICE = settle_device(cfg.MODEL.DEVICE)
        settle_test_size(cfg, opts)
        validate(cfg)
    except ConfigError as error:  # of keys that do not fit together; each value by itself was checked with its place
        source = f"config file {config_file}{' with the options given' if opts else ''}: " if config_file else ""
        raise ConfigError(f"{source}{from_elsewhere(cfg, str(error), config_file)}") from error
    if say_sizes:
        say_sizes_of(cfg)
    warn_of_conflicts(cfg)
    cfg.freeze()
    return cfg


def configured_device(config_file: str, opts: Sequence[Any], imports: Sequence[str] = ()) -> str:
    """The device of a config, settled, before the rest of it is looked at: what starts processes has to know.

    Raises:
        ConfigError: the file cannot be read, or the device cannot be used.
    """
    cfg = _merged(config_file, opts, imports, "inference", quiet=True)
    return settle_device(cfg.MODEL.DEVICE, quiet=True)


def _merged(
    config_file: str, opts: Sequence[Any] | None, imports: Sequence[str], task: Task, *, quiet: bool = False
) -> CfgNode:
    """The config before its keys are checked against one another."""
    values, places = read_yaml(config_file) if config_file else ConfigFile({}, {})
    source = f"config file {config_file}"
    named = CfgNode({IMPORTS: []})
    merge_dict(named, {key: value for key, value in values.items() if key == IMPORTS}, source, places)
    of_file = list(named[IMPORTS])
    opts = list(opts or ())
    pairs = zip(opts[0::2], opts[1::2])
    merge_options(named, [part for key, value in pairs if key == IMPORTS for part in (key, value)])
    modules = list(dict.fromkeys([*named[IMPORTS], *imports]))
    import_modules([name for name in modules if name not in of_file], config_file)
    missing = import_modules(modules, config_file, missing_ok=task != "training")
    if missing:
        values = without(values, _UNUSED[task])
    if not quiet:
        for sentence in missing.values():
            logger.warning(
                "%s. The command goes on without it: parts that only training uses are not needed here", sentence
            )
    cfg = known_defaults()  # now, as the modules may have added keys
    merge_dict(cfg, values, source, places)
    merge_options(cfg, opts)
    cfg[IMPORTS] = [name for name in modules if name not in missing]
    return cfg


def setup(args: argparse.Namespace, check: Callable[[CfgNode], None] | None = None) -> CfgNode:
    """Make everything ready for training or evaluation from parsed arguments.

    Reads the config, settles the seed (a negative ``SEED`` is drawn once and kept over ``--resume``), makes
    ``OUTPUT_DIR`` and starts the logs. Turns on ``args.resume`` where torchrun restarts a training that it began
    itself. ``config.yaml`` and what the log is told come into ``OUTPUT_DIR`` later, when it is sure that the work can
    begin (:mod:`rle_onestage.engine.takeover`).

    Args:
        args: what :func:`argument_parser` gave.
        check: raises where something is missing that the config names; called before anything is made.

    Returns:
        The frozen config.

    Raises:
        ConfigError: see :func:`load_config`; or ``OUTPUT_DIR`` cannot be written, or a training is at work in it.
    """
    with logged_later():
        task: Task = "evaluation" if args.eval_only else "training"
        cfg = load_config(args.config_file, args.opts, imports=getattr(args, "imports", ()), task=task)
        world_size = comm.get_world_size()
        if not (args.eval_only or cfg.SOLVER.REFERENCE_WORLD_SIZE):  # which gives each process the same share
            check_shares(cfg.SOLVER.IMS_PER_BATCH, world_size)
        if world_size > 1 and cfg.MODEL.DEVICE == "cpu" and torch.distributed.get_backend() == "nccl":
            raise ConfigError("MODEL.DEVICE is cpu, but the processes talk by NCCL; use rle-onestage train --num-gpus")
        if check is not None:
            check(cfg)
        _make_output_dir(cfg.OUTPUT_DIR)
        if not args.eval_only:
            restart = _is_gone_on_with(cfg.OUTPUT_DIR)
            claim_output(cfg.OUTPUT_DIR, goes_on=args.resume or restart or attempts.is_restart())
            # Again, as a training whose processes were still ending may have begun meanwhile.
            args.resume = _is_gone_on_with(cfg.OUTPUT_DIR, note=True) or args.resume
        start_logging(cfg.OUTPUT_DIR, hold=True)  # see engine/takeover.py
    cfg = settle_seed(cfg, resume=args.resume)
    seed_everything(cfg.SEED, comm.get_rank())
    if not args.eval_only:
        torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK
        if cfg.get("FLOAT32_PRECISION"):  # a key of Detectron2's main branch
            torch.set_float32_matmul_precision(cfg.FLOAT32_PRECISION)
    _log_environment(args, cfg, world_size)
    return cfg


def _make_output_dir(path: str) -> None:
    """Make a folder, where it is missing. Collective: each process may be the one that makes it, or the last there."""
    missing = comm.all_gather(lock.missing_folders(path))
    lock.note_made(folder for each in missing for folder in each)
    try:
        os.makedirs(path, exist_ok=True)
        writable = os.access(path, os.W_OK)
    except OSError as error:
        raise ConfigError(f"OUTPUT_DIR {path} cannot be made ({error.strerror}); choose another folder") from error
    if not writable:
        raise ConfigError(f"OUTPUT_DIR {path} cannot be written; choose another folder or change its permissions")


def claim_output(path: str, *, goes_on: bool) -> None:
    """Keep other trainings out of ``OUTPUT_DIR``, see :mod:`rle_onestage.engine.processes.lock`. Collective.

    Args:
        path: of the folder, which is made where it is missing.
        goes_on: whether this training resumes one, whose killed processes may still be ending; it waits for them.

    Raises:
        ConfigError: one is at work in it. In all processes.
    """
    problem = None
    if comm.is_main_process():
        try:
            lock.note_made(lock.missing_folders(path))
            os.makedirs(path, exist_ok=True)
            lock.claim(path, patience=None if goes_on else 0)
        except ConfigError as error:
            problem = str(error)
    problem = comm.all_gather(problem)[0]
    if problem is not None:
        raise ConfigError(problem)


def _is_gone_on_with(path: str, *, note: bool = False) -> bool:
    """Whether torchrun, restarting or with other machines, has begun the training in a folder. Collective.

    Whichever machine finds that counts: the first process may be another machine's now, and each counts its own
    restarts.

    Args:
        path: of the folder.
        note: leave there that these machines take part, as those before may all be gone in the next attempt; or take
            away what an earlier torchrun of the same name has left.
    """
    told = comm.all_gather((attempts.launcher(), attempts.is_restart()))
    launchers, restarted = [launcher for launcher, _ in told], any(restart for _, restart in told)
    found = any(comm.all_gather(attempts.has_begun(path, launchers, restarted=restarted)))
    if note and comm.is_main_process():
        if found:
            attempts.note_begun(path, launchers)
        else:
            attempts.forget_earlier(path)
    return found


def settle_seed(cfg: CfgNode, *, resume: bool = False) -> CfgNode:
    """The config with a seed: its own; or that of the run to resume; or a new one, the same on every process.

    Args:
        cfg: a config; ``SEED`` may be negative.
        resume: look into the last checkpoint of ``OUTPUT_DIR``.

    Returns:
        ``cfg`` itself if it has a seed, else a frozen copy that has one.
    """
    if cfg.SEED >= 0:
        return cfg
    seed = None
    if comm.is_main_process():
        latest = last_checkpoint(cfg.OUTPUT_DIR) if resume else None
        seed = recorded_seed(read_checkpoint(latest), latest) if latest else None
        seed = secrets.randbelow(2**31) if seed is None else seed
    cfg = cfg.clone()
    cfg.defrost()
    cfg.SEED = comm.all_gather(seed)[0]
    cfg.freeze()
    return cfg


def seed_everything(*entropy: int) -> None:
    """Seed Python, numpy and torch (CPU, and other devices in use) from integers, e.g. ``(seed, rank, iteration)``."""
    state = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    random.seed(state)
    np.random.seed(state)
    # torch.manual_seed() notes a stack trace for each device that is not in use yet: a millisecond in every step.
    torch.default_generator.manual_seed(state)
    seed_devices(state)


def start_logging(output_dir: str, *, hold: bool = False) -> None:
    """Log to the console (first process) and to ``output_dir/log.txt``, in Detectron2's format.

    Args:
        output_dir: is made where it is missing.
        hold: keep the lines of the file back, see :func:`rle_onestage.engine.logs.release_logs`.
    """
    rank = comm.get_rank()
    os.makedirs(output_dir, exist_ok=True)
    file = LogFile(os.path.join(output_dir, f"log.txt.rank{rank}" if rank else "log.txt"), hold=hold)
    for name, short in (("rle_onestage", "rle"), ("detectron2", "d2"), ("fvcore", "fvcore")):
        named = logging.getLogger(name)
        for handler in list(named.handlers):
            # A second call in one process (tests, notebooks) must not print every line twice.
            named.removeHandler(handler)
            if isinstance(handler, logging.FileHandler):
                handler.close()
        setup_logger.cache_clear()
        colors = sys.stdout is not None and sys.stdout.isatty()
        setup_logger(None, distributed_rank=rank, name=name, abbrev_name=short, color=colors)
        named.addHandler(file)
    # Says of every data set how it is pickled; of no use to anyone who trains.
    logging.getLogger("detectron2.data.common").setLevel(logging.WARNING)


def _log_environment(args: argparse.Namespace, cfg: CfgNode, world_size: int) -> None:
    import detectron2

    logger.info(
        "Python %s, torch %s, detectron2 %s, %d process(es), device %s, %d thread(s) each, seed %d",
        sys.version.split()[0], torch.__version__, detectron2.__version__, world_size,
        describe_device(cfg.MODEL.DEVICE),        torch.get_num_threads(), cfg.SEED,
    )  # fmt: skip
    sizes = {use: describe_size(size) for use, size in input_sizes(cfg).items()}
    logger.info("Images: %s in training, %s at test", sizes["train"], sizes["test"])
    for name in cfg[IMPORTS]:
        logger.info("Of the user's own: the module %s (%s), by %s", name, where(name), IMPORTS)
    if cfg[IMPORTS]:
        unused = _UNUSED["evaluation" if args.eval_only else "training"]
        parts: dict[bool, list[str]] = {True: [], False: []}
        for key, names in own_parts(cfg).items():
            parts[key not in unused].append(f"{key} {' '.join(names)}")
        idle = f"; in training only: {', '.join(parts[False])}" if parts[False] else ""
        logger.info("Of the user's own, in use: %s%s", ", ".join(parts[True]) or "nothing that a key names", idle)
    logger.info("Config %s %s -> %s", args.config_file or "(defaults)", " ".join(args.opts or []), cfg.OUTPUT_DIR)


def argument_parser() -> argparse.ArgumentParser:
    """Detectron2's parser: ``--config-file --resume --eval-only --num-gpus ... [KEY VALUE ...]``, and ``--import``."""
    base = default_argument_parser()
    layout = argparse.RawDescriptionHelpFormatter
    parser = _Parser(parents=[base], add_help=False, epilog=base.epilog, formatter_class=layout)
    add_import_flag(parser)
    # Detectron2 takes --num-gpus 0 for one process.
    kinds = {"num_gpus": natural_int, "num_machines": positive_int, "machine_rank": natural_int}
    for action in parser._actions:
        action.type = kinds.get(action.dest, action.type)
    # Detectron2's is a port by the user's number, which a second training of this user, or in a container, has too.
    parser.set_defaults(dist_url="auto")
    return parser


def add_import_flag(parser: argparse.ArgumentParser) -> None:
    """Let a command take ``--import MODULE``, for modules of the user's own beside those of the config's ``IMPORTS``.

    A module is imported when the flag is read. Processes that are started later have to hand ``args.imports`` to
    :func:`load_config`.
    """
    parser.add_argument(
        "--import", dest="imports", action=_Import, default=[], metavar="MODULE",
        help=IMPORT_HELP,
    )  # fmt: skip


class _Import(argparse.Action):
    """Imports the module of a flag."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        try:
            settle(IMPORTS, [values], [], str(option))
            import_modules([values])
        except ConfigError as error:
            first = is_first_on_machine()  # of those that torchrun started
            parser.exit(EXIT_CODE, f"error: {' '.join(str(error).split())}\n" if first else None)
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), values])


class _Parser(argparse.ArgumentParser):
    """Its help ends with the names that the config may choose from, also those that ``--import`` has added."""

    def format_help(self) -> str:
        """The help; for a command that evaluates, without the names that matter in training alone."""
        return f"{super().format_help()}\n{listed_names(training=not self.get_default('eval_only'))}\n"
