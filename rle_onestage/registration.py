"""What ``import rle_onestage`` gives: the public names; importing this registers everything with Detectron2."""

from rle_onestage import compat
from rle_onestage.console import QuietWarnings

compat.check_requirements()

# torch says on every start that it will not script functions any more, as fvcore and Detectron2 do when imported.
_SCRIPTING = r".*torch\.jit\.script.* is deprecated"
with (
    QuietWarnings(message=_SCRIPTING, category=FutureWarning),
    QuietWarnings(message=_SCRIPTING, category=DeprecationWarning),
):
    import torch

    from rle_onestage import data, model_zoo, modeling  # data and modeling register on import
    from rle_onestage.config import add_rle_onestage_config, register_config_keys
    from rle_onestage.engine import Trainer, load_config
    from rle_onestage.errors import (
        CheckpointError,
        ConfigError,
        DataError,
        DivergenceError,
        MediaError,
        PoseError,
    )
    from rle_onestage.model_zoo.shipped import register_shipped_weights
    from rle_onestage.modeling import RLEOneStage
    from rle_onestage.predictor import Predictor
    from rle_onestage.structures.skeleton import SKELETONS, Skeleton
    from rle_onestage.video.tracking import PoseTracker

# torch says once in a process that its argument is wanted, which the anchors of Detectron2 0.5 do not give.
with QuietWarnings(message=r"torch\.meshgrid"):
    torch.meshgrid(torch.zeros(1))

register_config_keys()
register_shipped_weights()

# The name that goes with PoseTracker.
PosePredictor = Predictor

__all__ = [
    "SKELETONS",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DivergenceError",
    "MediaError",
    "PoseError",
    "PosePredictor",
    "PoseTracker",
    "Predictor",
    "RLEOneStage",
    "Skeleton",
    "Trainer",
    "add_rle_onestage_config",
    "data",
    "load_config",
    "model_zoo",
    "modeling",
]
