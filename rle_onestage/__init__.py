"""One-stage multi-person pose estimation on Detectron2, supervised by Residual Log-likelihood Estimation.

Importing this package registers its architecture, backbones and data sets with Detectron2, so that stock Detectron2
tools work with its configs.
"""

import os
import signal
import sys

__version__ = "0.2.0"


def _is_command() -> bool:
    """Whether the command ``rle-onestage`` is starting, ``python -m rle_onestage.cli``, or a tool of the checkout.

    Its help, and ``install-detectron2``, answer at once and without Detectron2; its other sub-commands call
    :func:`load`.
    Processes that it starts import everything, as any other program does.
    """
    program = sys.argv[0] if sys.argv else ""
    tools = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tools")
    is_tool = program.endswith(".py") and os.path.dirname(os.path.abspath(program)) == tools
    started = sys.modules.get("multiprocessing.process")  # in processes that others start it is there already
    return (is_tool or _is_console_command()) and (started is None or started.current_process().name == "MainProcess")


def _is_console_command() -> bool:
    name, _ = os.path.splitext(os.path.basename(sys.argv[0] if sys.argv else ""))
    return name == "rle-onestage" or (name == "-m" and "rle_onestage.cli" in sys.orig_argv)


def _end_at_ctrl_c() -> None:
    """Let Ctrl-C end the process without a traceback, until ``rle_onestage.cli.main`` has a word for it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where a shell's background ignores it
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def load() -> None:
    """Register everything with Detectron2, and give this package its public names; imports call it by themselves.

    Raises:
        ImportError: Detectron2 or OpenCV is not there; the message says what to run.
    """
    from rle_onestage import registration

    globals().update({name: getattr(registration, name) for name in registration.__all__})


if _is_command():
    if _is_console_command():
        _end_at_ctrl_c()
else:
    from rle_onestage.registration import *  # noqa: F403 -- the public names are listed there
    from rle_onestage.registration import __all__ as __all__
