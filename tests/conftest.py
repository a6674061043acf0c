"""What all tests share: few threads, so that they take the same time beside other work, and no network."""

import os

# Before numpy, OpenCV and torch are loaded, because they read these once.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import cv2  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)
cv2.setNumThreads(1)

from hypothesis import settings  # noqa: E402

settings.register_profile("gate", max_examples=25, derandomize=True, deadline=None)
settings.register_profile("fuzz", max_examples=2000, deadline=None)
settings.load_profile("fuzz" if os.environ.get("RLE_ONESTAGE_FUZZ") else "gate")
