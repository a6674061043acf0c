"""What is compared: a training for each loss (or baseline) and seed, and its state, which lies on the disk."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY

from rle_onestage.engine.config.same_training import PLACE, check_same_training, differences
from rle_onestage.engine.config.schema import SCHEMA
from rle_onestage.engine.inference import METRICS
from rle_onestage.engine.logs import TRAINING_LOG
from rle_onestage.engine.setup import load_config
from rle_onestage.errors import ConfigError
from rle_onestage.evaluation.coco import RESULTS_FILE, results_folder
from rle_onestage.modeling import RLEOneStage

from .rules import Rule

FINAL = "model_final.pth"
_DENSITY, _PRESET = "MODEL.RLE_ONESTAGE.DENSITY", "MODEL.RLE_ONESTAGE.PRESET"
# Names of DENSITY, and of a density with another preset.
LOSSES = {name: [_DENSITY, name] for name in SCHEMA[_DENSITY].choices}
for _name in ("rle", "rle_released", "flow"):
    LOSSES[_name] = [_DENSITY, _name, _PRESET, "laplace"]
LOSSES["rle_gaussian"] = [_DENSITY, "rle", _PRESET, "gaussian"]
LOSSES["rle_student"] = [_DENSITY, "rle", _PRESET, "student"]
CLASS_SCORE = ["MODEL.RLE_ONESTAGE.TEST.QUALITY_POWER", "0.0", "MODEL.RLE_ONESTAGE.TEST.OKS_POWER", "0.0"]


@dataclass(frozen=True)
class Evaluation:
    """A trained model under one score."""

    name: str  # "own" or "class"
    folder: str
    config_file: str
    options: tuple  # of the config, with OUTPUT_DIR and MODEL.WEIGHTS
    weights: str

    def config(self) -> CfgNode:
        """The config."""
        return load_config(self.config_file, self.options)

    def is_done(self) -> bool:
        """Whether the metrics and results of all test sets are there, newer than the weights and of this config."""
        metrics, stored = (os.path.join(self.folder, name) for name in (METRICS, "config.yaml"))
        if not (os.path.exists(metrics) and os.path.exists(stored)) or _older(metrics, self.weights):
            return False
        cfg = self.config()
        results = [os.path.join(results_folder(cfg, name), RESULTS_FILE) for name in cfg.DATASETS.TEST]
        return all(map(os.path.exists, results)) and not differences(load_config(stored), cfg, PLACE)

    def prepare(self) -> None:
        """Forget an earlier evaluation of another config."""
        for name in (METRICS, "config.yaml"):
            path = os.path.join(self.folder, name)
            if os.path.exists(path):
                os.remove(path)


@dataclass(frozen=True)
class Run:
    """One training and its evaluations.

    Attributes:
        name: of the loss or baseline.
        seed: of the training.
        folder: for all that it writes.
        config_file: the config.
        options: ``[KEY, VALUE, ...]``, with ``OUTPUT_DIR`` and ``SEED``.
        iterations: of the training.
        has_factors: whether its score has a part besides the class's.
        source: folder of the run whose weights it reads out in another way; "" trains its own.
    """

    name: str
    seed: int
    folder: str
    config_file: str
    options: tuple
    iterations: int = 0
    has_factors: bool = True
    source: str = ""

    @property
    def label(self) -> str:
        """For messages."""
        return f"{self.name} seed {self.seed}"

    @property
    def weights(self) -> str:
        """The trained model's file."""
        return os.path.join(self.source or self.folder, FINAL)

    def config(self) -> CfgNode:
        """The config of the training."""
        return load_config(self.config_file, self.options)

    def is_trained(self) -> bool:
        """Whether the training has come to its end."""
        return os.path.exists(self.weights)

    def iterations_done(self) -> int:
        """Iterations of the training so far, as its log says."""
        return self.iterations if self.is_trained() else min(_last_iteration(self.folder), self.iterations)

    def training_folder(self) -> str:
        """Where the log of the training lies."""
        return self.source or self.folder

    def evaluations(self) -> "list[Evaluation]":
        """With the score of the config (where the training made it itself, there), and with the class's alone."""
        own = self._evaluation("own", self.folder)
        if not own.is_done():
            own = self._evaluation("own", os.path.join(self.folder, "own_score"))
        if not self.has_factors:
            return [own]
        return [own, self._evaluation("class", os.path.join(self.folder, "class_score"), CLASS_SCORE)]

    def _evaluation(self, name: str, folder: str, options: list[str] | tuple = ()) -> "Evaluation":
        options = (*self.options, *options, "OUTPUT_DIR", folder, "MODEL.WEIGHTS", self.weights)
        return Evaluation(name, folder, self.config_file, options, self.weights)

    def is_done(self) -> bool:
        """Whether it is trained and evaluated."""
        return self.is_trained() and all(e.is_done() for e in self.evaluations())

    def next_step(self, script: str) -> tuple[str, list[str]] | None:
        """What to do next: (what, command), or None when all is done.

        Args:
            script: path of ``train_net.py``.

        Raises:
            ConfigError: the weights of another run are to be read out, and are not there.
        """
        if self.source and not self.is_trained():
            raise ConfigError(f"{self.label} reads out the weights of {self.source}, which are not there; train them")
        if not self.is_trained():
            return "training", [script, "--config-file", self.config_file, "--resume", *self.options]
        for evaluation in self.evaluations():
            if not evaluation.is_done():
                evaluation.prepare()
                command = [script, "--config-file", self.config_file, "--eval-only", *evaluation.options]
                return f"evaluating ({evaluation.name} score)", command
        return None

    def check(self) -> None:
        """The config is sound, and what lies in the folder was trained with it.

        Raises:
            ConfigError: it is not, or was not.
        """
        cfg = self.config()
        if not cfg.DATASETS.TEST:
            raise ConfigError("DATASETS.TEST is empty; name the data sets to compare on")
        if not self.source:
            check_same_training(self.folder, cfg)


def plan(
    config_file: str,
    output: str,
    *,
    losses: list[str],
    seeds: list[int],
    baselines: list[str] | tuple = (),
    baseline_weights: list[str] | tuple = (),
    options: list[str] | tuple = (),
    rules: Mapping[str, Rule] | None = None,
) -> list[Run]:
    """All runs, seed by seed, so that an early stop still leaves whole rows.

    Args:
        config_file: of the losses' runs.
        output: folder for all.
        losses: names in :data:`LOSSES` or in ``rules``.
        seeds: numbers.
        baselines: configs of other models, each a run for each seed; called by the file's name.
        baseline_weights: ``MODEL.WEIGHTS`` of each baseline; none: as for the losses.
        options: ``[KEY, VALUE, ...]`` for all.
        rules: further ones by name, see :func:`~.rules.read_rules`.

    Raises:
        ConfigError: see :meth:`Run.check`; or a loss is not known, or something is named twice.
    """
    known = {name: Rule(own) for name, own in LOSSES.items()} | dict(rules or {})
    unknown = [loss for loss in losses if loss not in known]
    if unknown:
        raise ConfigError(f"--losses {unknown[0]!r} is not known; choose among {', '.join(known)}")
    models = [(loss, config_file, known[loss].options) for loss in losses]
    if baseline_weights and len(baseline_weights) != len(baselines):
        raise ConfigError(
            f"--baseline-weights has {len(baseline_weights)} files but --baselines {len(baselines)}; give one for each"
        )
    weights = [["MODEL.WEIGHTS", path] for path in baseline_weights] or [[]] * len(baselines)
    models += [(os.path.splitext(os.path.basename(path))[0], path, own) for path, own in zip(baselines, weights)]
    names = [name for name, _, _ in models]
    if len(set(names)) < len(names) or len(set(seeds)) < len(seeds) or min(seeds, default=0) < 0:
        raise ConfigError("--losses, --baselines and --seeds must each be different, and seeds not negative")
    runs = []
    for seed in seeds:
        for name, path, own in models:
            folder = os.path.join(output, name, f"seed{seed}")
            run = Run(name, seed, folder, path, (*options, *own, "SEED", str(seed), "OUTPUT_DIR", folder))
            reads = known[name].weights_of if name in losses else ""
            run = replace(run, source=os.path.join(output, reads, f"seed{seed}") if reads else "")
            run.check()
            cfg = run.config()
            runs.append(replace(run, iterations=cfg.SOLVER.MAX_ITER, has_factors=_is_ours(cfg.MODEL.META_ARCHITECTURE)))
    return runs


def _is_ours(name: str) -> bool:
    """Whether an architecture is this project's, or derived from it."""
    return name in META_ARCH_REGISTRY and issubclass(META_ARCH_REGISTRY.get(name), RLEOneStage)


def _older(path: str, other: str) -> bool:
    return os.path.exists(other) and os.path.getmtime(path) < os.path.getmtime(other)


def _last_iteration(folder: str) -> int:
    """Iterations of the last whole line of a training's log; 0 without one."""
    try:
        with open(os.path.join(folder, TRAINING_LOG), "rb") as file:
            file.seek(max(0, os.path.getsize(file.name) - 8192))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return 0
    for line in reversed(lines):
        try:
            return int(json.loads(line)["iteration"]) + 1
        except (ValueError, KeyError, TypeError):
            continue
    return 0
