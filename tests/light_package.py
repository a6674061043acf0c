"""The package without its entry, for tests in a process of their own of rooms that need the standard library alone."""

from pathlib import Path

import rle_onestage

# To stand before the imports of such a process. The entry registers everything with Detectron2, which takes seconds.
LIGHT = f"""import sys, types
sys.modules["rle_onestage"] = types.ModuleType("rle_onestage")
sys.modules["rle_onestage"].__path__ = [{str(Path(rle_onestage.__file__).parent)!r}]
"""
