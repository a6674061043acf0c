"""Presets: densities of the standardised residual in closed form, with unit variance in each coordinate.

So the scale is a standard deviation whichever preset is used.
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.catalog import Metadata
from torch import Tensor, nn

from ...errors import ConfigError, DivergenceError, shown
from ...structures.flip_pairs import named_flip_pairs
from ...structures.skeleton import COCO

logger = logging.getLogger(__name__)


def log_laplace(e: Tensor, joint: Tensor | None = None) -> Tensor:
    """Log-density (...) of the Laplace preset at ``e`` (..., D)."""
    return (-math.sqrt(2) * e.abs() - 0.5 * math.log(2)).sum(-1)


def log_gaussian(e: Tensor, joint: Tensor | None = None) -> Tensor:
    """Log-density (...) of the Gaussian preset at ``e`` (..., D)."""
    return (-0.5 * e.square() - 0.5 * math.log(2 * math.pi)).sum(-1)


def log_gamma_ratio(x: Tensor, dims: int) -> Tensor:
    """``log Gamma(x + dims / 2) - log Gamma(x)``, exact in float32 for any ``x`` of at least 1.

    The difference of two ``torch.lgamma`` has no digit left in float32 where ``x`` is large.

    Args:
        x: (...) at least 1.
        dims: 1, 2 or 3.
    """
    whole = torch.log(x) if dims > 1 else torch.zeros_like(x)
    if dims == 2:
        return whole
    half = x + (dims - 1) / 2  # log Gamma(half + 1 / 2) - log Gamma(half) remains
    near = half.clamp(max=10)
    far = half.clamp(min=10)
    # Stirling's series of the ratio; its next term is below 1e-8 from 10 on.
    series = 0.5 * torch.log(far) - 1 / (8 * far) + 1 / (192 * far**3)
    return whole + torch.where(half < 10, torch.lgamma(near + 0.5) - torch.lgamma(near), series)


class StudentPreset(nn.Module):
    """Elliptical Student's t of unit variance in each coordinate, its degrees of freedom learned.

    ``q(e) = c (1 + |e|^2 / (nu - 2))^(-(nu + D) / 2)``, ``c = Gamma((nu + D) / 2) / (Gamma(nu / 2) (pi (nu - 2))^(D /
    2))``: the t distribution of D coordinates (Kotz and Nadarajah, "Multivariate t Distributions", 2004) whose scale
    matrix is ``(nu - 2) / nu`` times the identity.

    ``nu = FLOOR (1 + exp(raw))``, so that ``1 / nu = sigmoid(-raw) / FLOOR``: equal steps are equal ratios, and the
    upper end runs into the Gaussian. ``raw`` has a row for each joint, so that a joint takes its own along to other
    sets of joints; joints of a group have the mean of their rows, and so the same gradient.

    Args:
        groups: (K,) index of each joint's group, which shares its degrees of freedom; None: one for all joints, however
            many.
    """

    # Unit variance defines the scale, and the variance is infinite from 2 down. Just above, it lies far out: beyond 40
    # scales there is 4 % of it at 3, 17 % at 2.5 and 45 % at 2.2, where hardly a label is that could teach the scale.
    # Labels of 2.2 degrees lose 0.002 nats by it.
    FLOOR = 2.5
    INIT = 4.0
    # There the density is the Gaussian to 1e-3 nats within 5 standard deviations; the bound keeps exp finite.
    MOST = 12.0
    # Where an end is worth a sentence: a Gaussian does as well; the tails are heavier than the floor allows.
    GAUSSIAN, AT_FLOOR = 1000.0, 1.02 * FLOOR
    raw: Tensor
    share: Tensor

    def __init__(self, *, groups: Sequence[int] | None = None):
        super().__init__()
        groups = [0] if groups is None else list(groups)
        self.rows = len(groups)
        self.JOINT_ROWS = {"raw": 1} if self.rows > 1 else {}
        self.raw = nn.Parameter(torch.full((self.rows,), math.log(self.INIT / self.FLOOR - 1)))
        group = torch.tensor(groups)
        same = (group[:, None] == group).float()
        self.register_buffer("share", same / same.sum(1, keepdim=True), persistent=False)
        self._said: set[str] = set()

    @classmethod
    def of(cls, preset: "str | Preset") -> "StudentPreset":
        """Student's t by its name, or what is one already.

        Args:
            preset: as for :func:`make_preset`.

        Raises:
            ConfigError: it is another preset.
        """
        made = make_preset(preset)
        if not isinstance(made, cls):
            name = preset if isinstance(preset, str) else getattr(preset, "__name__", type(preset).__name__)
            raise ConfigError(
                f"the density student is Student's t, so its preset cannot be {name}; leave the preset out, or take "
                "the density of that name"
            )
        return made

    def degrees(self) -> Tensor:
        """Degrees of freedom (K,) of each joint, or (1,) of all."""
        return self.FLOOR * (1 + torch.exp((self.share @ self.raw).clamp(max=self.MOST)))

    def _terms(self, dims: int) -> Tensor:
        """(K, 3): exponent, factor of the squared distance, and log of the density at 0."""
        with torch.autocast(self.raw.device.type, enabled=False):
            nu = self.degrees()
            log_c = log_gamma_ratio(nu / 2, dims) - 0.5 * dims * torch.log(math.pi * (nu - 2))
            return torch.stack([(nu + dims) / 2, 1 / (nu - 2), log_c], 1)

    def forward(self, e: Tensor, joint: Tensor | None = None) -> Tensor:
        """Log-density (...) at ``e`` (..., D) of the joints ``joint`` (...) int64, needed unless one is for all."""
        return _log_student(e, self._of(joint, self._terms(e.shape[-1])))

    def held(self, e: Tensor, joint: Tensor | None = None) -> Tensor:
        """As :meth:`forward`, without a gradient to the degrees of freedom."""
        return _log_student(e, self._of(joint, self._terms(e.shape[-1]).detach()))

    def _of(self, joint: Tensor | None, terms: Tensor) -> Tensor:
        if self.rows == 1:
            return terms[0]
        if joint is None:
            raise ValueError("each joint has its own degrees of freedom: the joint of each residual is needed")
        return terms[joint]

    def of_rows(self, e: Tensor) -> Tensor:
        """Log-density (K, n) of every row at ``e`` (n, D)."""
        return _log_student(e, self._terms(e.shape[-1])[:, None])

    @torch.no_grad()
    def check(self) -> None:
        """Say once where degrees of freedom run to an end.

        Raises:
            DivergenceError: they are not finite.
        """
        values = self.degrees().tolist()
        self._stop([number for number, value in enumerate(values) if not math.isfinite(value)])
        self._say(
            "above {:g}, where Student's t is a Gaussian: DENSITY or PRESET gaussian would do as well",
            self.GAUSSIAN, [number for number, value in enumerate(values) if value > self.GAUSSIAN],
        )  # fmt: skip
        self._say(
            "at their floor of {:g}: the errors have heavier tails than a density with a variance, so sigma depends on "
            "few labels; look for wrong ones (rle-onestage label-errors)",
            self.FLOOR, [number for number, value in enumerate(values) if value < self.AT_FLOOR],
        )  # fmt: skip

    def _stop(self, joints: Sequence[int]) -> None:
        if joints:
            raise DivergenceError(
                f"the degrees of freedom of Student's t{self._whose(joints)} are not finite; lower SOLVER.BASE_LR, or "
                "clip gradients (SOLVER.CLIP_GRADIENTS)"
            )

    def _say(self, words: str, limit: float, joints: Sequence[int]) -> None:
        if joints and words not in self._said:
            self._said.add(words)
            logger.warning("Degrees of freedom%s are %s.", self._whose(joints), words.format(limit))

    def _whose(self, joints: Sequence[int]) -> str:
        return f" of joints {', '.join(map(str, joints))} (counted from 0)" if self.rows > 1 else ""


def _log_student(e: Tensor, terms: Tensor) -> Tensor:
    """Log-density (...) at ``e`` (..., D) with :meth:`StudentPreset._terms` that broadcast against (...)."""
    power, inverse, log_c = terms.unbind(-1)
    return log_c - power * torch.log1p(inverse * e.square().sum(-1))


Preset = Callable[..., Tensor]
PRESETS: dict[str, Preset] = {"laplace": log_laplace, "gaussian": log_gaussian}


def make_preset(preset: str | Preset) -> Preset:
    """A preset by its name; "student" has one number of degrees of freedom for all joints.

    Args:
        preset: "laplace", "gaussian" or "student", or what is a preset already.

    Raises:
        ConfigError: it is neither.
    """
    if callable(preset):
        return preset
    if preset == "student":
        return StudentPreset()
    if preset not in PRESETS:
        raise ConfigError(f"the preset is {shown(preset)}; choose among {', '.join((*PRESETS, 'student'))}")
    return PRESETS[preset]


def preset_from_config(cfg: CfgNode) -> str | Preset:
    """The preset of ``MODEL.RLE_ONESTAGE.PRESET``, for the constructor of a density."""
    name = cfg.MODEL.RLE_ONESTAGE.PRESET
    return student_preset(cfg) if name == "student" else name


def student_preset(cfg: CfgNode) -> StudentPreset:
    """Student's t whose degrees of freedom the joints share as ``MODEL.RLE_ONESTAGE.STUDENT.GROUPS`` says."""
    return StudentPreset(groups=student_groups(cfg))


def student_groups(cfg: CfgNode) -> list[int] | None:
    """Index of each joint's group from ``MODEL.RLE_ONESTAGE.STUDENT.GROUPS``; None for one for all.

    With flows of groups each of these has degrees of freedom of its own.
    """
    options = cfg.MODEL.RLE_ONESTAGE
    joints = options.NUM_KEYPOINTS
    if options.STUDENT.GROUPS == "all" or len(options.FLOW.GROUPS) or joints == 1:
        return None
    groups = list(range(joints))
    if options.STUDENT.GROUPS == "pairs":
        for left, right in configured_flip_pairs(cfg, joints):
            groups[right] = left
    return groups


def configured_flip_pairs(cfg: CfgNode, joints: int) -> Sequence[tuple[int, int]]:
    """Pairs of joints that swap in a mirror, of the first data set of the config with so many joints, else COCO's.

    Where neither is known, none: weights that were trained in pairs stay in pairs.
    """
    for metadata in configured_metadata(cfg):
        names = list(metadata.get("keypoint_names") or [])
        if len(names) == joints:
            return named_flip_pairs(names, metadata.get("keypoint_flip_map") or [])
    return COCO.flip_pairs if joints == COCO.num_joints else []


def configured_joint_names(cfg: CfgNode) -> Iterator[list[str]]:
    """The joints of each data set of the config that is registered, as far as they are known."""
    for metadata in configured_metadata(cfg):
        yield list(metadata.get("keypoint_names") or [])


def configured_metadata(cfg: CfgNode) -> Iterator[Metadata]:
    """What is registered of each data set of the config, those to train on first."""
    for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST):
        if name in DatasetCatalog.list():
            yield MetadataCatalog.get(name)
