"""One-stage multi-person pose estimation on Detectron2, supervised by Residual Log-likelihood Estimation.

Importing this package registers its architecture, backbones and data sets with Detectron2, so that stock Detectron2
tools work with its configs.
"""

import multiprocessing
import os
import sys

__version__ = "0.2.0"


def _is_command() -> bool:
    """Whether the command ``rle-onestage`` is starting, ``python -m rle_onestage.cli``, or a tool of the checkout.

    Its help, and ``install-detectron2``, answer at once and without Detectron2; its other sub-commands call
    :func:`load`.
    Processes that it starts import everything, as any other program does.
    """
    program = sys.argv[0] if sys.argv else ""
    name, _ = os.path.splitext(os.path.basename(program))
    starting = name == "rle-onestage" or (name == "-m" and "rle_onestage.cli" in sys.orig_argv)
    tools = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tools")
    starting = starting or (program.endswith(".py") and os.path.dirname(os.path.abspath(program)) == tools)
    return starting and multiprocessing.current_process().name == "MainProcess"


def load() -> None:
    """Register everything with Detectron2, and give this package its public names; imports call it by themselves.

    Raises:
        ImportError: Detectron2 or OpenCV is not there; the message says what to run.
    """
    from rle_onestage import registration

    globals().update({name: getattr(registration, name) for name in registration.__all__})


if not _is_command():
    from rle_onestage.registration import *  # noqa: F403 -- the public names are listed there
    from rle_onestage.registration import __all__ as __all__
