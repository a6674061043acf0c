"""What a training starts from: the weights of ``MODEL.WEIGHTS``, and nothing frozen that no file has filled."""

import logging
from collections.abc import Collection, Sequence

from detectron2.config import CfgNode
from detectron2.layers import FrozenBatchNorm2d
from detectron2.modeling import BACKBONE_REGISTRY
from torch import nn

from rle_onestage.engine.checkpoint.files import TABLES, TRAINING_ONLY, read_checkpoint
from rle_onestage.engine.checkpoint.joints import some_names
from rle_onestage.engine.checkpoint.origin import origin_of_start
from rle_onestage.engine.checkpoint.weights import apply_weights
from rle_onestage.engine.config.validation import PRETRAINED_KEYS
from rle_onestage.errors import ConfigError, shown
from rle_onestage.modeling.trained_parts import KEY as ONLY
from rle_onestage.modeling.trained_parts import filled_parts

logger = logging.getLogger("rle_onestage")
AT, TRUNK_NORM, NORM = "MODEL.BACKBONE.FREEZE_AT", "MODEL.RLE_ONESTAGE.TRUNK.NORM", "MODEL.RESNETS.NORM"


def start_from_weights(model: nn.Module, cfg: CfgNode, joints: Sequence[str] | None) -> list[str]:
    """Fill a model that is to be trained with ``MODEL.WEIGHTS``, if that names any.

    Args:
        model: the bare architecture.
        cfg: of the training.
        joints: names of the model's joints, see :func:`~.weights.load_weights`.

    Returns:
        What the weights come from, see :mod:`.origin`.

    Raises:
        CheckpointError: see :func:`~.weights.load_weights`.
        ConfigError: weights stay frozen that are in no file, so that they are random. Names the first of them, what
            freezes them, and the remedy. For a backbone of the user's own it is a warning.
    """
    address, content, loaded = cfg.MODEL.WEIGHTS, None, []
    if address:
        content = read_checkpoint(address)
        loaded = apply_weights(model, content, address, strict=False, joints=joints)
    unfilled = _frozen_without_weights(model, set(loaded), whole=bool(cfg.SOLVER.TRAIN_ONLY))
    if unfilled:
        norms = {f"{name}.weight" for name, part in model.named_modules() if isinstance(part, FrozenBatchNorm2d)}
        what, remedy = _blame(cfg, unfilled, norms)
        lacks = f"{address} does not have them, as of another network" if address else "MODEL.WEIGHTS names none"
        sentence = f"{what}, which would freeze random weights ({some_names(unfilled)}): {lacks}; {remedy}"
        if not _is_known(cfg.MODEL.BACKBONE.NAME) and not cfg.SOLVER.TRAIN_ONLY:  # its builder may have filled them
            logger.warning("%s.", sentence)
        else:
            raise ConfigError(sentence)
    return origin_of_start(model, cfg, content, loaded)


def _is_known(backbone: str) -> bool:
    """Whether the builder of a backbone is Detectron2's or of this package."""
    return str(BACKBONE_REGISTRY.get(backbone).__module__).startswith(("detectron2.", "rle_onestage."))


def _frozen_without_weights(model: nn.Module, loaded: Collection[str], *, whole: bool) -> list[str]:
    """Names of what stays as it is and came from no file.

    Args:
        model: after its weights were loaded.
        loaded: names of those.
        whole: look at all of the model, of which a part alone is trained; else at its backbone.
    """
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    frozen += [f"{name}.weight" for name, part in model.named_modules() if isinstance(part, FrozenBatchNorm2d)]
    known = (*filled_parts(model), *TRAINING_ONLY, *TABLES)
    inside = "" if whole else "backbone."
    return [n for n in frozen if n.startswith(inside) and n not in loaded and not n.startswith(known)]


def _blame(cfg: CfgNode, unfilled: Sequence[str], norms: set[str]) -> tuple[str, str]:
    """(what freezes weights, what to do), where ``norms`` are the names of gains of Detectron2's frozen norms."""
    name, at, norm = cfg.MODEL.BACKBONE.NAME, cfg.MODEL.BACKBONE.FREEZE_AT, cfg.MODEL.RLE_ONESTAGE.TRUNK.NORM
    only, key = list(cfg.SOLVER.TRAIN_ONLY), PRETRAINED_KEYS.get(name)
    weights = "name weights of this network in MODEL.WEIGHTS" + (f", or those of its trunk in {key}" if key else "")
    if only:
        return f"{ONLY} is {shown(only)}", f"{weights}, or set {ONLY} to []"
    changes: dict[str, tuple[object, object]] = {}
    if key:
        changes = {AT: (at, 0), TRUNK_NORM: (norm, "train")}
    elif str(BACKBONE_REGISTRY.get(name).__module__).startswith("detectron2."):
        by_norm = bool(norms & set(unfilled)) and cfg.MODEL.RESNETS.NORM == "FrozenBN"
        changes = {AT: (at, 0), NORM: ("FrozenBN" if by_norm else "BN", "BN")}
    changes = {key: (now, then) for key, (now, then) in changes.items() if now != then}
    if not changes:  # the user's own code
        how = "or tell by rle_onestage.modeling.mark_filled(part) that its builder has filled a part"
        return f"the backbone {name} has frozen parts", f"{weights}, let them learn, {how}"
    now = " and ".join(f"{key} is {value}" for key, (value, _) in changes.items())
    then = " and ".join(f"{key} to {value}" for key, (_, value) in changes.items())
    return now, f"{weights}, or set {then} so that all of it learns"
