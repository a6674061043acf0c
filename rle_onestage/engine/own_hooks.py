"""The hooks of ``SOLVER.HOOKS``: what one of them raises is told with its name."""

import contextlib
from collections.abc import Iterator
from types import TracebackType

from detectron2.config import CfgNode
from detectron2.engine import HookBase, TrainerBase

from rle_onestage.engine.processes.watch import EvaluationStopped
from rle_onestage.engine.registries import HOOK_REGISTRY
from rle_onestage.errors import called, naming_own_code
from rle_onestage.utils.registry import parse_entry


class NamesOwnHooks(TrainerBase):
    """A trainer that says which hook of the config failed; its hooks are called as any other's.

    Attributes:
        own_hooks: (hook, what messages call it) of those that :meth:`build_own_hooks` made.
    """

    own_hooks: tuple[tuple[HookBase, str], ...] = ()

    def build_own_hooks(self, cfg: CfgNode) -> list[HookBase]:
        """Make what ``SOLVER.HOOKS`` lists.

        Args:
            cfg: the config.

        Raises:
            ConfigError: see :meth:`rle_onestage.utils.registry.NamedRegistry.build`.
        """
        names = [f"hook {called(*parse_entry(entry), HOOK_REGISTRY.key)}" for entry in cfg.SOLVER.HOOKS]
        made = [HOOK_REGISTRY.build(entry, (cfg,)) for entry in cfg.SOLVER.HOOKS]
        self.own_hooks = tuple(zip(made, names))
        return made

    def before_train(self) -> None:
        """Call the hooks."""
        with self._naming():
            super().before_train()

    def after_train(self) -> None:
        """Call the hooks."""
        with self._naming():
            super().after_train()

    def before_step(self) -> None:
        """Call the hooks."""
        with self._naming():
            super().before_step()

    def after_step(self) -> None:
        """Call the hooks."""
        with self._naming():
            super().after_step()

    @contextlib.contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except EvaluationStopped:
            raise
        except Exception as error:
            what = self._passed(error.__traceback__)
            if what is None:
                raise
            with naming_own_code(what):
                raise

    def _passed(self, trace: TracebackType | None) -> str | None:
        """What the hook is called that a traceback passes through, if any."""
        while trace is not None:
            itself = trace.tb_frame.f_locals.get("self")
            for hook, what in self.own_hooks:
                if itself is hook:
                    return what
            trace = trace.tb_next
        return None
