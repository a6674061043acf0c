"""Training a part of a model alone: all else of it stays as it is, to the digit."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from ..errors import ConfigError, shown
from ..utils.near import nearest
from .losses import zero_of

KEY = "SOLVER.TRAIN_ONLY"


def train_only(model: nn.Module, beginnings: Sequence[str]) -> None:
    """Let the parameters learn whose names begin so, and nothing else.

    Other parameters do not require gradients. What has no trained part is in evaluation mode in each step, whatever
    mode was set before it, so that batch norms count nothing and dropout is off. A module that keeps more of a training
    in its buffers has a method ``keep_untrained``, which is told which names are trained. A second call does nothing.

    Args:
        model: a bare architecture with the contract of Detectron2's.
        beginnings: of names in ``model.named_parameters()``; none: everything learns.

    Raises:
        ConfigError: no parameter has a name that begins so, or something else has frozen all of them.
    """
    names = tuple(beginnings)
    if not names or getattr(model, "trained_names", None) == names:
        return
    _check(model, names)
    trained = [p for name, p in model.named_parameters(remove_duplicate=False) if name.startswith(names)]
    chosen = {id(parameter) for parameter in trained if parameter.requires_grad}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in chosen)
    step = _Step(
        [part for name, part in model.named_modules() if not (f"{name}.".startswith(names) or _learns(part))],
        [parameter for parameter in model.parameters() if parameter.requires_grad],
    )
    step.before(model)
    model.register_forward_pre_hook(step.before)
    model.register_forward_hook(step.after)
    for prefix, module in model.named_modules():
        keep: Callable[[Callable[[str], bool]], None] | None = getattr(module, "keep_untrained", None)
        if keep is not None:
            keep(_is_trained(f"{prefix}." if prefix else "", names))
    model.trained_names = names  # type: ignore[assignment]  # nn.Module's attributes are declared as tensors and modules


def mark_filled(part: nn.Module) -> None:
    """Tell a training that a part may be frozen as it is, for instance because its builder has read it from a file.

    Else a part that is frozen, and that ``MODEL.WEIGHTS`` does not have, is an error: it would stay random.

    Args:
        part: of a backbone.
    """
    part.filled = True  # type: ignore[assignment]  # nn.Module's attributes are declared as tensors and modules


def filled_parts(model: nn.Module) -> tuple[str, ...]:
    """Beginnings of the full names of the tensors for which :func:`mark_filled` was called."""
    return tuple(f"{name}." for name, part in model.named_modules() if getattr(part, "filled", False) is True)


def _is_trained(prefix: str, names: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether something is trained, by its name in a module that has this prefix."""
    return lambda name: f"{prefix}{name}".startswith(names)


def _learns(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


class _Step:
    """What happens around the forward pass of each training step.

    Args:
        untrained: modules that are in evaluation mode meanwhile.
        trained: parameters.
    """

    def __init__(self, untrained: Sequence[nn.Module], trained: Sequence[nn.Parameter]):
        self.untrained, self.trained = list(untrained), list(trained)

    def before(self, model: nn.Module, inputs: object = None) -> None:
        """Set the modes, some microseconds: evaluations between two steps put everything back into training mode."""
        if model.training:
            for module in self.untrained:
                module.training = False

    def after(self, model: nn.Module, inputs: object, losses: Any) -> Any:
        """Give every trained parameter a gradient, 0 where a batch has no use for it: DDP and a scaler want one."""
        if not (model.training and isinstance(losses, dict) and losses):
            return losses
        first = next(iter(losses))
        return {**losses, first: losses[first] + zero_of(self.trained)}


def _check(model: nn.Module, names: Sequence[str]) -> None:
    known = dict(model.named_parameters(remove_duplicate=False))
    for name in names:
        begun = [parameter for key, parameter in known.items() if key.startswith(name)]
        if begun and any(parameter.requires_grad for parameter in begun):
            continue
        if begun:
            raise ConfigError(
                f"{KEY} names {shown(name)}, all of which is frozen by another key; set MODEL.BACKBONE.FREEZE_AT to 0 "
                "and MODEL.RLE_ONESTAGE.TRUNK.NORM to train, or leave the name out"
            )
        raise ConfigError(
            f"{KEY} names {shown(name)}, with which the name of no parameter begins; {_hint(name, known)}"
        )


def _hint(name: str, known: dict[str, nn.Parameter]) -> str:
    """What may be meant by a name: a parameter, or a part of the model, which ends in a dot."""
    parts = {f"{'.'.join(key.split('.')[:depth])}." for key in known for depth in range(1, key.count(".") + 1)}
    near = nearest(name, [*sorted(parts), *known])
    if near:
        return f"did you mean {shown(near)}?"
    first = list(dict.fromkeys(key.split(".")[0] + "." * ("." in key) for key in known))
    return f"this model has {', '.join(first[:8])}{' and more' * (len(first) > 8)}"
