"""Why weights do not fit a config: what each of the two comes from, and which config the weights belong to."""

import os

from detectron2.config import CfgNode

from rle_onestage.data.lookup import source_of_joints
from rle_onestage.engine.checkpoint.joints import UnfitWeights
from rle_onestage.engine.checkpoint.named import trained_beside
from rle_onestage.engine.config.files import place_of
from rle_onestage.utils.packaged_files import config_of_weights


def explain_misfit(cfg: CfgNode, address: str, error: UnfitWeights) -> str:
    """A sentence that names the file whose joints are the model's, where the weights were named, and their own config.

    Args:
        cfg: of the model.
        address: of the weights.
        error: what is said without knowing the config.
    """
    clauses = [error.what]
    source = source_of_joints(cfg) if error.of_joints else None
    if source:
        clauses[0] += f", which are those of {source}"
    place = place_of(cfg, "MODEL.WEIGHTS") if address == cfg.MODEL.WEIGHTS else None
    if place:
        clauses.append(f"MODEL.WEIGHTS is from the {place}")
    trained = trained_beside(cfg) if place else None
    if trained and os.path.realpath(trained) != os.path.realpath(address):
        clauses.append(f"what the training made of them is used with MODEL.WEIGHTS {trained}")
    own = config_of_weights(address)
    clauses.append(f"these weights fit the config {own} with its data sets; {error.remedy}" if own else error.remedy)
    return "; ".join(clauses)
