"""Checkpoints: their files, the weights in them, joints by name, going on from one, and which of them stay."""

from rle_onestage.engine.checkpoint.earlier import forget_last_checkpoint, keep_finished, warn_of_calibrated
from rle_onestage.engine.checkpoint.files import (
    SMALL,
    read_checkpoint,
    save_checkpoint,
    slim,
)
from rle_onestage.engine.checkpoint.last import check_places, last_checkpoint
from rle_onestage.engine.checkpoint.weights import apply_weights, load_weights

__all__ = [
    "SMALL",
    "apply_weights",
    "check_places",
    "forget_last_checkpoint",
    "keep_finished",
    "last_checkpoint",
    "load_weights",
    "read_checkpoint",
    "save_checkpoint",
    "slim",
    "warn_of_calibrated",
]
