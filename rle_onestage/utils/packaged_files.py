"""Configs and weights that come with the package: where they are, and their names."""

import difflib
import os
from pathlib import Path

from rle_onestage.errors import ConfigError, shown
from rle_onestage.utils.near import near_file, remedy_for, what_is_wrong

_ZOO = Path(__file__).resolve().parents[1] / "model_zoo"
# In a checkout a symbolic link to the repository's configs/, in the wheel a folder.
CONFIGS = _ZOO / "configs"
CHECKPOINTS = _ZOO / "checkpoints"
# Users of a checkout write configs/demo.yaml, and it means the same without one.
# Names of models that come with the package, with the config that runs them.
MODELS = {"people": "demo.yaml", "people_fast": "demo_fast.yaml", "people_synthetic": "demo_synthetic.yaml"}
# Lowest score that demo draws: the best F1 of `people`, on held-out images (projects/people/threshold.py).
DRAWN_SCORE = 0.28
SHIPPED = "rle-onestage://"  # begins their addresses
TRAINING_CONFIG = "config.yaml"  # that a training leaves in its OUTPUT_DIR
_PREFIX, _ENDING = "configs/", ".yaml"


def config_names() -> list[str]:
    """Names of the packaged configs, such as ``coco/rle_onestage_R50_FPN_1x.yaml``.

    Raises:
        ConfigError: see :func:`find_config`.
    """
    _check_folder()
    return sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("*.yaml"))


def find_config(name: str) -> Path | None:
    """The packaged config of a name.

    Args:
        name: as in :func:`config_names`; ``configs/`` may stand before it.

    Returns:
        The file, or None if there is none of this name.

    Raises:
        ConfigError: the checkout has a text file in the place of the link to ``configs/``.
    """
    name = name.replace("\\", "/").removeprefix(_PREFIX)
    _check_folder()
    return CONFIGS / name if name in config_names() else None


def config_path(name: str, folder: str = "") -> str:
    """The absolute path of a config: on disk, else with the package.

    Args:
        name: of the config; ``~`` is expanded.
        folder: to which it is relative; "" for the current one.
    """
    path = os.path.abspath(os.path.join(folder, os.path.expanduser(name)))
    if os.path.exists(path) or "\0" in name:
        return path
    return str(find_config(name) or path)


def check_config_path(path: str, name: str, asked_by: str = "", *, check: str = "check its name") -> None:
    """Raises ConfigError unless a config is there; says what may have been meant.

    Args:
        path: of the config, see :func:`config_path`.
        name: as it was given.
        asked_by: who named it, for the message.
        check: what to look at where nothing is near.
    """
    if not (wrong := what_is_wrong(path)):
        return
    near = [] if os.path.exists(path) or near_file(path, (".yaml", ".yml")) else near_names(name, config_names())
    remedy = remedy_for(path, check, (".yaml", ".yml"))
    if near:
        remedy = f"did you mean {' or '.join(near)}, which come{'s' * (len(near) == 1)} with the package?"
    raise ConfigError(f"config file {shown(path, 300)[1:-1]}{asked_by} {wrong}; {remedy}")


def near_names(name: str, names: list[str]) -> list[str]:
    """The names that one may have meant: those that are spelt alike, whole or in their last part.

    Args:
        name: what was asked for.
        names: what there is.

    Returns:
        At most three names, the closest first.
    """
    name = name.replace("\\", "/").removeprefix(_PREFIX).removesuffix(_ENDING)  # all end alike
    whole = {each.removesuffix(_ENDING): each for each in names}
    last = {each.rsplit("/", 1)[-1]: full for each, full in whole.items()}
    near = [whole[each] for each in difflib.get_close_matches(name, whole, cutoff=0.6)]
    near += [last[each] for each in difflib.get_close_matches(name.rsplit("/", 1)[-1], last, cutoff=0.7)]
    return list(dict.fromkeys(near))[:3]


def weight_names() -> list[str]:
    """Names of the packaged weights, without their ending."""
    return sorted(path.stem for path in CHECKPOINTS.glob("*.pth"))


def config_of_weights(address: str) -> str | None:
    """The config that fits weights, as a command line takes it; None where nobody knows.

    Args:
        address: of weights: those of the package, or a file of a training, which leaves its ``config.yaml`` beside it.
    """
    folder, file = os.path.split(address.removeprefix(SHIPPED))
    if address.startswith(SHIPPED) or os.path.realpath(folder) == str(CHECKPOINTS):
        return MODELS.get(os.path.splitext(file)[0])
    beside = os.path.join(folder, TRAINING_CONFIG)
    return beside if "://" not in address and os.path.isfile(beside) else None


def _check_folder() -> None:
    """Git writes a link as a text file where it may make no links, as on Windows without developer mode."""
    if CONFIGS.is_file():
        raise ConfigError(
            f"{CONFIGS} is a text file instead of a symbolic link to configs/, because git may make no links here; "
            "allow them (git config core.symlinks true) and check the file out again, or install the wheel"
        )
