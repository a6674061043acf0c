"""What all tests share: few threads, so that they take the same time beside other work, signals as at a terminal, no
network, how much is fuzzed.

``tests/fuzz/`` mutates inputs. The gate tries the same few mutations each time, ``make fuzz`` 2,000 others.
"""

import os
import signal

# Before numpy, OpenCV and torch are loaded, because they read these once.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import cv2  # noqa: E402
import hypothesis  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

# As at a terminal: what a shell starts in the background ignores SIGINT, what nohup starts ignores SIGHUP.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

torch.set_num_threads(1)
cv2.setNumThreads(1)

# No deadline for one example: the machine may be busy. Each test bounds the time of what it calls itself.
_SETTINGS = dict(deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
hypothesis.settings.register_profile("gate", max_examples=25, derandomize=True, database=None, **_SETTINGS)
hypothesis.settings.register_profile("fuzz", max_examples=2000, print_blob=True, **_SETTINGS)
hypothesis.settings.load_profile("fuzz" if os.environ.get("RLE_ONESTAGE_FUZZ") else "gate")


@pytest.fixture(autouse=True)
def one_thread():
    """What a command's --threads sets is undone, so that no later test waits for threads that share a core."""
    yield
    torch.set_num_threads(1)
