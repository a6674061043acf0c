"""Configs and trained weights that come with the package, by name.

>>> from rle_onestage import model_zoo
>>> people = model_zoo.get_predictor("people")(cv2.imread("photo.jpg"))
>>> cfg = model_zoo.get_config("coco/rle_onestage_R50_FPN_1x.yaml")
"""

from rle_onestage.model_zoo.model_zoo import (
    MODELS,
    get,
    get_checkpoint_url,
    get_config,
    get_config_file,
    get_predictor,
)

__all__ = ["MODELS", "get", "get_checkpoint_url", "get_config", "get_config_file", "get_predictor"]
