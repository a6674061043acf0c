"""Train or evaluate a model.

rle-onestage train --config-file quickstart.yaml
rle-onestage train --config-file quickstart.yaml --resume
rle-onestage train --config-file my.yaml --num-gpus 2 SOLVER.BASE_LR 0.01
rle-onestage train --config-file my.yaml --eval-only MODEL.WEIGHTS output/model_final.pth
torchrun --nproc_per_node 2 -m rle_onestage.cli train --config-file my.yaml
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rle_onestage.cli.checks import check_words
from rle_onestage.cli.options import OPTIONS_HELP, add_options_flag, parse_options, start
from rle_onestage.console import leaving_at_once
from rle_onestage.errors import exits_with_sentence, naming_own_modules
from rle_onestage.utils.arguments import PROGRAM, check_flags, complain, positive_int

if TYPE_CHECKING:
    from detectron2.config import CfgNode

FLAGS = {
    "config_file": "a YAML file, a run's config.yaml, or a config of the package such as quickstart.yaml",
    "resume": "go on from the last checkpoint of OUTPUT_DIR, where there is one",
    "eval_only": "evaluate MODEL.WEIGHTS on DATASETS.TEST instead, as rle-onestage evaluate does",
    "num_gpus": "processes on each machine, one a GPU (default: 1)",
    "num_machines": "machines that work together (default: 1)",
    "machine_rank": "number of this machine, from 0",
    "dist_url": "tcp://HOST:PORT where all machines meet (default: auto, a free port of this machine)",
    "opts": OPTIONS_HELP,
}
OF_EVALUATE = {
    "max_people": "people an image that count in keypoint AP, as TEST.MAX_PEOPLE (default: 20, as in COCO)",
    "results": "score this file of COCO results instead; rle-onestage evaluate --results FILE --help has its flags",
    "resume": "evaluate the last checkpoint of OUTPUT_DIR instead of MODEL.WEIGHTS",
    "before_training": "evaluate what a training with this config would start from: MODEL.WEIGHTS, with joints by "
    "name; parts that these weights lack are untrained, but for joints that start as the mean of joints near them",
    "eval_only": argparse.SUPPRESS,
    "imports": "import a Python module with parts of your own that the model or the evaluation needs, by its name",
}
METAVARS = {
    "max_people": "N",
    "results": "FILE",
    "num_gpus": "N",
    "num_machines": "N",
    "machine_rank": "N",
    "dist_url": "URL",
    "opts": "KEY VALUE",
}


@naming_own_modules()
def train(args: argparse.Namespace) -> object:
    """Do what the arguments say, in each process.

    Args:
        args: of ``rle_onestage.engine.argument_parser``.

    Returns:
        The results of the evaluation, or of the last one of the training.
    """
    from rle_onestage.data.lookup import check_sets, training_names
    from rle_onestage.engine import Trainer, evaluate_only, setup
    from rle_onestage.engine.checkpoint.named import weights_to_evaluate

    def check(cfg: "CfgNode") -> None:
        # Test sets too: a training would fail at its end.
        names = cfg.DATASETS.TEST if args.eval_only else (*training_names(cfg), *cfg.DATASETS.TEST)
        check_sets(cfg, [], needed=names, images=True)
        if args.eval_only and not os.path.isdir(cfg.OUTPUT_DIR):  # which is not made for nothing
            weights_to_evaluate(cfg, resume=args.resume)

    cfg = setup(args, check)
    if args.eval_only:
        return evaluate_only(cfg, resume=args.resume, before_training=getattr(args, "before_training", False))
    trainer = Trainer(cfg, data_first=True)
    trainer.resume_or_load(resume=args.resume)
    return trainer.train()


def main(arguments: Sequence[str] | None = None, *, command: str = "train", text: str | None = __doc__) -> None:
    """Do what the command line says, in as many processes as it asks for.

    Args:
        arguments: without the program's name; None takes those of this process.
        command: ``train`` or ``evaluate``.
        text: what it does, for its help.
    """
    with leaving_at_once():  # of the training launch() says more
        args = _parse(arguments, command, text)
        from rle_onestage.engine import launch

    launch(
        train,
        args.num_gpus,
        num_machines=args.num_machines,
        machine_rank=args.machine_rank,
        dist_url=args.dist_url,
        args=(args,),
    )


@exits_with_sentence
def _parse(arguments: Sequence[str] | None, command: str, text: str | None) -> argparse.Namespace:
    words = sys.argv[1:] if arguments is None else arguments
    check_words(words)
    start(log=False)
    from rle_onestage.engine import argument_parser

    parser = argument_parser()
    parser.prog, parser.description, parser.epilog = f"{PROGRAM} {command}", text, None
    _adapt(parser, command)
    # argparse calls it as a method of the parser.
    setattr(parser, "error", lambda message: complain(parser, message))  # noqa: B010 -- to a type checker it is fixed
    check_flags(parser, words)
    args = parse_options(parser, words)
    if args.resume and getattr(args, "before_training", False):
        parser.error("--before-training evaluates MODEL.WEIGHTS, --resume the last checkpoint; leave one out")
    if getattr(args, "max_people", None):
        args.opts = [*args.opts, "TEST.MAX_PEOPLE", str(args.max_people)]
    return args


def _adapt(parser: argparse.ArgumentParser, command: str) -> None:
    """Detectron2's flags in our words, those of the command alone; ``KEY VALUE`` pairs as in the other commands."""
    evaluates = command == "evaluate"
    if evaluates:
        parser.add_argument("--before-training", action="store_true")
        parser.add_argument("--max-people", type=positive_int)
        parser.add_argument("--results")  # which never comes here, see rle_onestage.cli.evaluate
    texts = {**FLAGS, **(OF_EVALUATE if evaluates else {})}
    for action in parser._actions:
        action.help = texts.get(action.dest, action.help)
        action.metavar = METAVARS.get(action.dest, action.metavar)
        if action.dest == "opts" and not action.option_strings:  # which Detectron2 has at the end of the line alone
            action.dest, action.nargs, action.default = "options", "*", []
    add_options_flag(parser)
    parser.set_defaults(eval_only=evaluates)
