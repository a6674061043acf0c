"""The project's modules are found, and tests take the same time beside other work."""

import os
import sys
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

PROJECT = Path(__file__).resolve().parents[1]
for _folder in (PROJECT, PROJECT / "tests"):
    sys.path.insert(0, str(_folder))
