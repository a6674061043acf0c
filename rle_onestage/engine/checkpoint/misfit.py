"""Why weights do not fit a config: what each of the two comes from, and which config the weights belong to."""

import os

from detectron2.config import CfgNode

from rle_onestage.data.lookup import source_of_joints
from rle_onestage.engine.checkpoint.joints import UnfitWeights
from rle_onestage.engine.checkpoint.named import trained_beside
from rle_onestage.engine.config.files import place_of
from rle_onestage.utils.packaged_files import config_of_weights


def explain_misfit(cfg: CfgNode, address: str, error: UnfitWeights) -> str:
    """A sentence that begins with what to do, then names the file of the model's joints and where weights were named.

    Args:
        cfg: of the model.
        address: of the weights.
        error: what is said without knowing the config.
    """
    place = place_of(cfg, "MODEL.WEIGHTS") if address == cfg.MODEL.WEIGHTS else None
    trained = trained_beside(cfg) if place else None
    own = config_of_weights(address)
    if trained and os.path.realpath(trained) != os.path.realpath(address):
        remedy = f"give MODEL.WEIGHTS {trained}, which the training with this config made"
    elif own:
        by_name = ", or train from them, which takes joints over by name (evaluate --before-training scores this start)"
        anew = by_name if error.of_joints else ""
        remedy = f"use the config {own}, which belongs to these weights{anew}"
    else:
        remedy = error.remedy
    source = source_of_joints(cfg) if error.of_joints else None
    places = [f"the model's are those of {source}"] if source else []
    places += [f"MODEL.WEIGHTS is from the {place}"] if place else []
    return "; ".join([f"{remedy}: {error.what}", *places])
