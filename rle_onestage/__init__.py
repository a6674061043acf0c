"""One-stage multi-person pose estimation on Detectron2, supervised by Residual Log-likelihood Estimation.

Importing this package registers its architecture, backbones and data sets with Detectron2, so that stock Detectron2 tools
work with its configs.
"""

from rle_onestage import compat

compat.check_requirements()

from rle_onestage.config import add_rle_onestage_config  # noqa: E402
from rle_onestage.errors import (  # noqa: E402
    CheckpointError,
    ConfigError,
    DataError,
    DivergenceError,
    MediaError,
    PoseError,
)

for _room in ("data", "modeling"):  # both register on import
    try:
        __import__(f"rle_onestage.{_room}")
    except ModuleNotFoundError as _error:
        if not (_error.name or "").startswith("rle_onestage"):
            raise

__version__ = "0.1.0"

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DivergenceError",
    "MediaError",
    "PoseError",
    "add_rle_onestage_config",
]
