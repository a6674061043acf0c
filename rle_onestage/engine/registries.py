"""The hooks that ``SOLVER.HOOKS`` may name."""

from detectron2.engine import HookBase

from rle_onestage.utils.registry import NamedRegistry

# A class is made by its from_config(cfg, **options) where it has one, else by its options alone.
HOOK_REGISTRY = NamedRegistry("HOOK", "SOLVER.HOOKS", HookBase)
