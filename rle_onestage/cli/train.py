"""Train or evaluate a model.

rle-onestage train --config-file quickstart.yaml
rle-onestage train --config-file quickstart.yaml --resume
rle-onestage train --config-file my.yaml --num-gpus 2 SOLVER.BASE_LR 0.01
rle-onestage train --config-file my.yaml --eval-only MODEL.WEIGHTS output/model_final.pth
torchrun --nproc_per_node 2 -m rle_onestage.cli train --config-file my.yaml
"""

import argparse
from collections.abc import Sequence

from rle_onestage.cli.options import start
from rle_onestage.console import leaving_at_once
from rle_onestage.errors import exits_with_sentence
from rle_onestage.utils.arguments import PROGRAM, complain


def train(args: argparse.Namespace) -> object:
    """Do what the arguments say, in each process.

    Args:
        args: of ``rle_onestage.engine.argument_parser``.

    Returns:
        The results of the evaluation, or of the last one of the training.
    """
    from rle_onestage.engine import Trainer, evaluate_only, setup

    cfg = setup(args)
    if args.eval_only:
        return evaluate_only(cfg, resume=args.resume)
    trainer = Trainer(cfg)
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
    start(log=False)
    from rle_onestage.engine import argument_parser

    parser = argument_parser()
    parser.prog, parser.description, parser.epilog = f"{PROGRAM} {command}", text, None
    parser.set_defaults(eval_only=command == "evaluate")
    # argparse calls it as a method of the parser.
    setattr(parser, "error", lambda message: complain(parser, message))  # noqa: B010 -- to a type checker it is fixed
    return parser.parse_args(arguments)
