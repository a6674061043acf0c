#!/usr/bin/env python3
"""``rle-onestage install-detectron2`` from a checkout, before anything is installed: its file without its package."""

import importlib.util
import sys
from pathlib import Path

_FILE = Path(__file__).resolve().parents[1] / "rle_onestage" / "cli" / "install_detectron2.py"
_SPEC = importlib.util.spec_from_file_location("install_detectron2", _FILE)
assert _SPEC is not None and _SPEC.loader is not None  # for the type checker: a .py file has both
_MODULE = importlib.util.module_from_spec(_SPEC)
# Whoever imports this file gets that one.
_NAME, sys.modules[__name__] = __name__, _MODULE
_SPEC.loader.exec_module(_MODULE)

if _NAME == "__main__":
    sys.exit(_MODULE.main())
