"""Keeps the tables that inference needs fresh: whoever trains, loads, evaluates or saves the model."""

from collections.abc import Callable
from typing import TypeVar

from torch import Tensor, nn
from torch.nn.modules.module import _IncompatibleKeys

from ..compat import training_iteration
from .density import Density, GroupedDensity
from .likelihood import PoseLikelihood
from .postprocessing import Decoder
from .space.criterion import DepthCriterion
from .watch import Watch

_Own = TypeVar("_Own", bound="FreshTables")


class FreshTables(nn.Module):
    """A module with a density in its ``criterion`` and the tables of it in its ``decoder``.

    It may be a whole architecture, or a head in one of Detectron2's. A subclass calls :meth:`keep_tables_fresh` at the
    end of its constructor, and has :meth:`scale_weights`.
    """

    criterion: PoseLikelihood | None
    decoder: Decoder

    def keep_tables_fresh(self) -> None:
        """Make the tables, and watch over them from now on."""
        self.register_state_dict_pre_hook(_renew_before_saving)
        self.register_load_state_dict_post_hook(_trust_what_was_loaded)
        self._renew()

    def scale_weights(self) -> list[Tensor]:
        """Of the layers that say the scale."""
        raise NotImplementedError

    def space_weights(self) -> list[Tensor]:
        """Of the layers that say depth; none in a model without it."""
        return []

    def settle(self) -> None:
        """What a subclass finds out once, on the way to evaluation mode and after loading."""

    def prepare_for_inference(self) -> None:
        """Renew what the decoder has of the training: tables of the density, and the area ratio.

        The model itself does so where they have, see :meth:`renew_if_trained`. Without the training's parts the tables
        are those of the checkpoint; so they are where the density is not trained.
        """
        if self.criterion is not None and not self.criterion.learns_density:
            self.renew_if_trained()
        else:
            self._renew()

    def _renew(self) -> None:
        if self.criterion is not None:
            self.criterion.density.refresh()
            self.decoder.set_density(self.criterion.density)
            self._renew_space()
            self.decoder.area_ratio.copy_(self.criterion.area_ratio())
            self._remember_weights()

    def _renew_space(self) -> None:
        if self.decoder.space is not None and (space := _space_of(self.criterion)) is not None:
            space.density.refresh()
            self.decoder.space.set_density(space.density)

    def renew_if_trained(self) -> None:
        """Renew the tables if the density's weights are others than those that they were made of, or came with.

        Tables and correction that came with a file stay until then: a file without the density's weights has no other
        source of them. A correction belongs to what the network says of the scale too, and goes when that has changed;
        one in space goes with either, and leaves that in the plane as it is.
        Called on the way to evaluation mode and before the state is saved, so that every tool finds them fresh.
        """
        if self.criterion is None:
            return
        self.decoder.area_ratio.copy_(self.criterion.area_ratio())
        if not self._density_then.same(_density_weights(self.criterion.density)):
            return self._renew()
        scale, deep = self._scale_then.same(self.scale_weights()), self._deep_then.same(self._deep_weights())
        if not scale:
            self.decoder.reset_correction()
        if not deep:
            self._renew_space()
        if not (scale and deep):
            self._remember_weights()

    def train(self: _Own, mode: bool = True) -> _Own:
        """As in every module; on the way to evaluation see :meth:`renew_if_trained`."""
        super().train(mode)
        if not mode:
            self.renew_if_trained()
            self.settle()
        return self

    def _remember_weights(self) -> None:
        """The tables are right for the present weights."""
        if self.criterion is not None:
            self._density_then = Watch(_density_weights(self.criterion.density))
            self._scale_then = Watch(self.scale_weights())
            self._deep_then = Watch(self._deep_weights())

    def _deep_weights(self) -> list[Tensor]:
        """All that the tables and the correction in space belong to, but for those of the plane."""
        space = _space_of(self.criterion)
        return [*self.space_weights(), *([] if space is None else _density_weights(space.density))]

    def start_training_anew(self) -> None:
        """Forget the run that the weights come from, where another training starts with them."""
        if self.criterion is not None and self.criterion.counts_areas:
            self.criterion.restart_areas(self.criterion.area_ratio())

    def begin_step(self) -> int:
        """The iteration of the training under way, as Detectron2 counts it: a new training warms up anew, whichever
        weights it starts from. 0 outside of a training."""
        iteration = training_iteration()
        if iteration == 0:  # for trainers that do not call it themselves
            self.start_training_anew()
        return iteration or 0

    def keep_untrained(self, is_trained: Callable[[str], bool]) -> None:
        """Leave what a training finds out beside its weights as it is, but for what is trained.

        Args:
            is_trained: of the name of a parameter or buffer in this module.
        """
        if self.criterion is not None:
            self.criterion.counts_areas = is_trained("criterion.area_sums")
            density = self.criterion.density.named_parameters(prefix="criterion.density")
            self.criterion.learns_density = any(is_trained(name) for name, _ in density)
            space = _space_of(self.criterion)
            if space is not None:
                names = [name for name, _ in space.named_parameters(prefix="criterion.space")]
                # Without parameters it still follows the size of the residuals of what is trained.
                space.learns_density = any(map(is_trained, names or ["head.depth.joint.weight"]))


def decoder_of(model: nn.Module) -> Decoder | None:
    """The decoder with the tables of a model's density, be it the model's own or a head's; None without a density."""
    return next((part for part in model.modules() if isinstance(part, Decoder)), None)


def start_training_anew(model: nn.Module) -> None:
    """Let every part of a model that has a method of this name forget the run that its weights come from."""
    for part in model.modules():
        start: Callable[[], None] | None = getattr(part, "start_training_anew", None)
        if start is not None:
            start()


def _space_of(criterion: PoseLikelihood | None) -> DepthCriterion | None:
    """The likelihood of depth, of a criterion that has it."""
    return getattr(criterion, "space", None)


def _density_weights(density: Density | GroupedDensity) -> list[Tensor]:
    """What the tables are made of."""
    fitted = (buffer for name, buffer in density.named_buffers() if name.split(".")[-1] == "fitted")
    return [*density.parameters(), *fitted]


def _renew_before_saving(model: FreshTables, *_: object) -> None:
    model.renew_if_trained()


def _trust_what_was_loaded(model: FreshTables, incompatible: _IncompatibleKeys) -> None:
    """Whole tables that came in a file are right for the weights that it leaves in the model."""
    missing = incompatible.missing_keys
    model.settle()
    if not any("decoder." in key and "decoder.space." not in key for key in missing):
        model._remember_weights()
    sums, ratio = (any(name in key for key in missing) for name in ("criterion.area_sums", "decoder.area_ratio"))
    if model.criterion is not None and sums and not ratio:  # a file for inference has the ratio alone
        model.criterion.restart_areas(model.decoder.area_ratio)
