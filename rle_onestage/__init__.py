"""One-stage multi-person pose estimation on Detectron2, supervised by Residual Log-likelihood Estimation.

Importing this package registers its architecture, backbones and data sets with Detectron2, so that stock Detectron2
tools work with its configs.
"""

from rle_onestage import compat

compat.quiet_imports()
compat.check_requirements()

from rle_onestage import data, modeling  # noqa: E402 -- both register on import
from rle_onestage.config import add_rle_onestage_config, register_config_keys  # noqa: E402
from rle_onestage.engine import Trainer, load_config  # noqa: E402
from rle_onestage.errors import CheckpointError, ConfigError, DataError, DivergenceError, MediaError, PoseError  # noqa: E402
from rle_onestage.model_zoo.shipped import register_shipped_weights  # noqa: E402
from rle_onestage.modeling import RLEOneStage  # noqa: E402
from rle_onestage.predictor import Predictor  # noqa: E402
from rle_onestage.structures.skeleton import SKELETONS, Skeleton  # noqa: E402
from rle_onestage.video.tracking import PoseTracker  # noqa: E402

register_config_keys()
register_shipped_weights()

# The name that goes with PoseTracker.
PosePredictor = Predictor

__version__ = "0.1.0"

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
    "modeling",
]
