#!/usr/bin/env python3
"""Train or evaluate a model.

python tools/train_net.py --config-file configs/quickstart.yaml
python tools/train_net.py --config-file configs/quickstart.yaml --resume
python tools/train_net.py --config-file C --eval-only MODEL.WEIGHTS output/model_final.pth
torchrun --nproc_per_node 2 tools/train_net.py --config-file C
"""

import signal

if __name__ == "__main__":
    # The imports take seconds, in which Ctrl-C would end in a traceback; launch() says more.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from rle_onestage.engine import Trainer, argument_parser, evaluate_only, launch, setup  # noqa: E402


def main(args):
    """Do what the arguments say, in each process."""
    cfg = setup(args)
    if args.eval_only:
        return evaluate_only(cfg, resume=args.resume)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    return trainer.train()


if __name__ == "__main__":
    arguments = argument_parser().parse_args()
    launch(
        main,
        arguments.num_gpus,
        num_machines=arguments.num_machines,
        machine_rank=arguments.machine_rank,
        dist_url=arguments.dist_url,
        args=(arguments,),
    )
