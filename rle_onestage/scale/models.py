"""The one place that makes a predictor from a name, and what tells two models apart."""

import functools
import hashlib
import os
from dataclasses import dataclass, replace
from typing import NamedTuple

from detectron2.config import CfgNode
from detectron2.utils.file_io import PathManager

from .. import model_zoo
from ..engine.config.schema import leaves
from ..engine.setup import load_config
from ..errors import ConfigError, cut
from ..export import ExportedPredictor, load
from ..export.formats import FORMATS, format_of
from ..predictor import Predictor
from ..utils.near import WEIGHT_FILES
from ..utils.packaged_files import MODELS, config_of_weights, config_path
from ..utils.paths import absolute

_CONFIGS = (".yaml", ".yml")
_SHOWN = 60  # characters of a value of a config that a message says


@dataclass(frozen=True)
class ModelChoice:
    """Which model, in words that another machine understands.

    Attributes:
        name: ``people`` or another name of the model zoo; a config (``.yaml``) with its weights; or weights
            (``.pth``) with the ``config.yaml`` that their training left beside them; or an exported file.
        options: ``KEY, VALUE, ...`` of the config; an exported file has none.
        imports: modules that register parts of it.
        precision: of the convolutions.
    """

    name: str = "people"
    options: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    precision: str = "float32"


class Version(NamedTuple):
    """What tells two models apart.

    Attributes:
        name: the package's version, and a fingerprint of config and weights: those that differ are another model.
        package: its version.
        weights: where they are, by which they are named, not told apart.
        digest: of the weights.
        config: key -> value of all keys, as text, and the precision.
    """

    name: str
    package: str
    weights: str
    digest: str
    config: dict[str, str]

    def changes(self, now: "Version") -> str:
        """What is another in a later version whose name differs, with both: "other weights (a.pth, now b.pth)"."""
        found = []
        if self.package != now.package:
            found.append(f"another version of rle-onestage ({self.package}, now {now.package})")
        keys = [key for key in sorted({*self.config, *now.config}) if self.config.get(key) != now.config.get(key)]
        if self.digest != now.digest or not (found or keys):
            same = self.weights == now.weights
            found.append(f"other weights ({self.weights}, {'changed since' if same else f'now {now.weights}'})")
        if keys:
            before, after = (cut(str(each.config.get(keys[0])), _SHOWN) for each in (self, now))
            more = f", and {len(keys) - 1} more" if len(keys) > 1 else ""
            found.append(f"another config ({keys[0]} {before}, now {after}{more})")
        return " and ".join(found)


def settled(choice: ModelChoice) -> ModelChoice:
    """The choice with the absolute path of a file, so that it is one model from every folder, however it is spelt."""
    if choice.name in MODELS or not os.path.isfile(os.path.expanduser(choice.name)):
        return choice
    return replace(choice, name=absolute(choice.name))


def predictor_for(choice: ModelChoice, threads: int | None = None) -> Predictor | ExportedPredictor:
    """What finds people in images, by :class:`ModelChoice`.

    Args:
        choice: the model.
        threads: of the runtime of an exported file; PyTorch has the threads of the process.

    Raises:
        ConfigError: there is no such model, or its config is wrong.
        CheckpointError: the weights cannot be read or do not fit.
        MediaError: the exported file cannot be read.
        MissingPackageError: its runtime is not installed.
    """
    if is_exported(choice):
        return load(choice.name, threads=threads, precision=choice.precision)
    return Predictor(_config(choice), precision=choice.precision)


def is_exported(choice: ModelChoice) -> bool:
    """Whether the model is an exported file.

    Raises:
        ConfigError: there are options for it, which are of a config.
        MediaError: there is no such file.
    """
    if not choice.name.endswith(tuple(made.ending for _, made in FORMATS)):
        return False
    if choice.options or choice.imports:
        raise ConfigError(
            f"{choice.name} is an exported file, whose config is settled; leave out "
            f"{' '.join([*choice.options, *choice.imports])}, or export it anew with them"
        )
    format_of(choice.name)
    return True


def version_of(choice: ModelChoice, package: str, cfg: CfgNode | None = None) -> Version:
    """What tells a model from others.

    Args:
        choice: the model.
        package: version of the package.
        cfg: the config of the model, where that is loaded, so that what is to be said of it is said once.
    """
    if is_exported(choice):
        stem = choice.name.removesuffix(format_of(choice.name).ending)
        config, keys, weights = "", {}, choice.name
        files = [choice.name, *(stem + ending for ending in format_of(choice.name).further)]
    else:
        cfg = (cfg or _config(choice)).clone()
        cfg.defrost()
        files, weights = [PathManager.get_local_path(cfg.MODEL.WEIGHTS)], cfg.MODEL.WEIGHTS
        cfg.MODEL.DEVICE, cfg.OUTPUT_DIR = "", ""  # where it runs changes nothing
        if "://" not in weights:  # nor does where the weights lie
            weights, cfg.MODEL.WEIGHTS = absolute(weights), ""
        config = cfg.dump()
        keys = {key: str(value) for key, value in leaves(cfg) if key != "MODEL.WEIGHTS"}
    whole, of_weights = hashlib.sha256(f"{config}|{choice.precision}".encode()), hashlib.sha256()
    for path in files:
        with open(path, "rb") as file:
            for block in iter(functools.partial(file.read, 2**20), b""):
                whole.update(block)
                of_weights.update(block)
    name = f"{package}+{whole.hexdigest()[:12]}"
    return Version(name, package, weights, of_weights.hexdigest(), {**keys, "--precision": choice.precision})


def _config(choice: ModelChoice) -> CfgNode:
    """The config of a model."""
    name, options = choice.name, list(choice.options)
    if name in MODELS:
        path = model_zoo.get_config_file(name)
    elif name.endswith(WEIGHT_FILES):
        beside = config_of_weights(name)
        if beside is None:
            raise ConfigError(
                f"{name} has no config.yaml beside it; give its config as --model, and MODEL.WEIGHTS {name}"
            )
        path, options = config_path(beside), [*options, "MODEL.WEIGHTS", name]
    elif name.endswith(_CONFIGS):
        path = config_path(name)
        if not os.path.exists(path):
            raise ConfigError(f"config {name} of --model does not exist; check its name")
    else:
        raise ConfigError(
            f"there is no model {name!r}; give one of {', '.join(sorted(MODELS))}, a config (.yaml), weights "
            "(.pth) or an exported file (.onnx)"
        )
    return load_config(path, options, imports=choice.imports, task="inference")
