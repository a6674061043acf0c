"""Training and evaluation: configs, the loop, checkpoints, several processes."""

from rle_onestage.engine.builders import evaluate_only
from rle_onestage.engine.checkpoint import last_checkpoint, load_weights, read_checkpoint
from rle_onestage.engine.checkpoint.start import start_from_weights
from rle_onestage.engine.inference import evaluate, run_on_loader
from rle_onestage.engine.processes.launch import launch
from rle_onestage.engine.registries import HOOK_REGISTRY
from rle_onestage.engine.setup import argument_parser, load_config, setup
from rle_onestage.engine.trainer import Trainer

__all__ = [
    "HOOK_REGISTRY",
    "Trainer",
    "argument_parser",
    "evaluate",
    "evaluate_only",
    "last_checkpoint",
    "launch",
    "load_config",
    "load_weights",
    "read_checkpoint",
    "run_on_loader",
    "setup",
    "start_from_weights",
]
