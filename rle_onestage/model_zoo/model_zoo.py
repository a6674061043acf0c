"""Configs and trained weights that come with the package, by name, in the manner of ``detectron2.model_zoo``."""

import os

from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import nn

from rle_onestage.engine.checkpoint import load_weights
from rle_onestage.engine.device import settle_device
from rle_onestage.engine.setup import configured_device, load_config
from rle_onestage.errors import ConfigError
from rle_onestage.model_zoo.shipped import PREFIX
from rle_onestage.predictor import Predictor
from rle_onestage.utils.packaged_files import CONFIGS, MODELS, config_names, find_config, near_names, weight_names

# Other configs of models whose weights come with the package, with the name of the weights.
_TRAINED_BY = {
    "people/people.yaml": "people", "demo_fast.yaml": "people", "people_synthetic.yaml": "people_synthetic",
}  # fmt: skip


def get_config_file(name: str) -> str:
    """The path of a packaged config.

    Args:
        name: a config's path below ``configs/``, such as ``coco/rle_onestage_R50_FPN_1x.yaml``; or the name of packaged
            weights, such as ``people``, for the config that runs them.

    Returns:
        The path of the YAML file.

    Raises:
        ConfigError: there is no such config.
    """
    file = find_config(MODELS.get(name, name))
    if file is None:
        raise _unknown(name, "is not in the model zoo", [*MODELS, *config_names()])
    return str(file)


def get_checkpoint_url(name: str) -> str:
    """The address of the trained weights of a model, as ``MODEL.WEIGHTS`` takes it.

    Args:
        name: see :func:`get_config_file`.

    Returns:
        An address like ``rle-onestage://people.pth``; ``PathManager.get_local_path`` gives the file.

    Raises:
        ConfigError: no weights of this model come with the package.
    """
    weights = _weights_of(name)
    if weights not in weight_names():
        raise _unknown(name, "has no trained weights in the model zoo", [*MODELS, *MODELS.values(), *_TRAINED_BY])
    return f"{PREFIX}{weights}.pth"


def get_config(name: str, trained: bool = False) -> CfgNode:
    """The config of a model.

    Args:
        name: see :func:`get_config_file`.
        trained: set ``MODEL.WEIGHTS`` to the model's trained weights. Without it ``MODEL.WEIGHTS`` stays as the file
            has it: empty or a backbone's for configs that train, trained weights for ``people`` and the like.

    Returns:
        The config, which may be changed. Its device is the CPU where the config's is CUDA and there is none.

    Raises:
        ConfigError: there is no such config, or there are no weights of it.
    """
    file = get_config_file(name)
    # Settled before, so that nobody is warned of a default that the packaged configs have.
    cfg = load_config(file, ["MODEL.DEVICE", configured_device(file, ())]).clone()
    cfg.defrost()
    if trained:
        cfg.MODEL.WEIGHTS = get_checkpoint_url(name)
    return cfg


def get(name: str, trained: bool = False, device: str | None = None) -> nn.Module:
    """The model of a name, with the weights of its config.

        >>> model = model_zoo.get("coco/rle_onestage_R50_FPN_1x.yaml")

    Args:
        name: see :func:`get_config_file`.
        trained: see :func:`get_config`.
        device: instead of the config's; ``cuda`` is the CPU where there is no CUDA.

    Returns:
        The architecture, in training mode.

    Raises:
        ConfigError: there is no such config or device, or there are no weights of it.
        CheckpointError: the weights cannot be read or do not fit.
    """
    cfg = _config_for(name, trained, device)
    model = build_model(cfg)
    if cfg.MODEL.WEIGHTS:
        load_weights(model, cfg.MODEL.WEIGHTS, strict=False)
    return model.train()


def get_predictor(
    name: str, trained: bool = False, device: str | None = None, *, precision: str = "float32"
) -> Predictor:
    """What finds people in images, with trained weights.

        >>> people = model_zoo.get_predictor("people")(cv2.imread("photo.jpg"))

    Args:
        name: see :func:`get_config_file`; a model with trained weights.
        trained: see :func:`get_config`; needed where the config's own ``MODEL.WEIGHTS`` are not those of a whole model.
        device: see :func:`get`.
        precision: see :class:`~rle_onestage.predictor.Predictor`.

    Raises:
        ConfigError: there is no such config or device, or there are no weights of it.
    """
    cfg = _config_for(name, trained, device)
    if not cfg.MODEL.WEIGHTS.startswith(PREFIX):  # none, or those of a backbone
        raise ConfigError(
            f"{name!r} has no weights of a whole model; give trained=True for those that come with the package"
            if _weights_of(name) in weight_names()
            else f"{name!r} has no trained weights in the model zoo; give your own: Predictor(get_config({name!r}), "
            f"checkpoint), or use one of {', '.join(sorted(MODELS))}"
        )
    return Predictor(cfg, precision=precision)


def _config_for(name: str, trained: bool, device: str | None) -> CfgNode:
    cfg = get_config(name, trained)
    if device is not None:
        cfg.MODEL.DEVICE = settle_device(device, key="device")
    cfg.freeze()
    return cfg


def _weights_of(name: str) -> str | None:
    file = find_config(MODELS.get(name, name))
    if file is None:
        raise _unknown(name, "is not in the model zoo", [*MODELS, *config_names()])
    runs = {config: weights for weights, config in MODELS.items()} | _TRAINED_BY
    return runs.get(file.relative_to(CONFIGS).as_posix())


def _unknown(name: str, what: str, there: list[str]) -> ConfigError:
    if os.path.isfile(name):
        return ConfigError(
            f"{name!r} is a file, where the name of a model of the zoo is due ({', '.join(MODELS)}); for "
            "weights of your own give the config of their training (--config-file), and the weights as MODEL.WEIGHTS"
        )
    near = near_names(name, there)
    remedy = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(dict.fromkeys(there))}"
    return ConfigError(f"{name!r} {what}; {remedy}")
