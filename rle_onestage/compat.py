"""The only file that knows that Detectron2 has versions (0.5, 0.6, main).

Every bridge looks for the feature that it needs, never for a version number. What Detectron2 0.5 lacks and needs no
bridge is not used at all: ``DenseDetector``, ``FCOS``, ``BestCheckpointer``, its EMA, ``padding_constraints``.
"""

import contextlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # torch takes a second, which who asks whether all is installed need not wait for
    from torch import nn

NEEDS = "rle_onestage needs"  # begins each message of check_requirements
HOW_TO_INSTALL = (
    f"{NEEDS} Detectron2 0.5 or later: run 'rle-onestage install-detectron2', or 'make install' in a "
    "checkout; 'pip install detectron2' does not give it."
)
HOW_TO_INSTALL_OPENCV = (
    f"{NEEDS} OpenCV: run 'pip install opencv-python' ('opencv-python-headless' on a machine without a "
    "display), or 'make install' in a checkout."
)
# Came with 0.5; its presence is the check that the installed Detectron2 is not an older one.
_CAME_WITH_05 = "detectron2.config.lazy"


def check_requirements() -> None:
    """Raise ImportError, in one line with the remedy, unless Detectron2 >= 0.5, OpenCV and torchvision are usable."""
    _import_matplotlib()
    try:
        usable = importlib.util.find_spec(_CAME_WITH_05) is not None
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "detectron2":
            raise  # Detectron2 is there, and something that it needs is not: its own message says what
        usable = False
    if not usable:
        raise ImportError(HOW_TO_INSTALL)
    if importlib.util.find_spec("cv2") is None:
        raise ImportError(HOW_TO_INSTALL_OPENCV)
    _check_torchvision()


def _import_matplotlib() -> None:
    """Import matplotlib, which Detectron2 needs, also where ``MPLBACKEND`` names a backend that is not installed.

    A notebook sets it for the commands that it starts too, whose environment may be another one. Then the import fails.
    """
    if "matplotlib" in sys.modules or importlib.util.find_spec("matplotlib") is None:
        return
    backend = os.environ.pop("MPLBACKEND", None)
    matplotlib = importlib.import_module("matplotlib")
    if backend:
        with contextlib.suppress(ValueError):  # no plot of the package needs a backend
            matplotlib.rcParams["backend"] = backend
            os.environ["MPLBACKEND"] = backend


def _check_torchvision() -> None:
    """Raise ImportError, with the remedy, where torchvision is of another build than torch: its operators fail then."""
    try:
        importlib.import_module("torchvision")
    except (ImportError, OSError, RuntimeError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        versions = ", ".join(f"{name} {_version(name)}" for name in ("torch", "torchvision"))
        raise ImportError(
            f"{NEEDS} torch and torchvision that fit each other; torchvision cannot be imported ({said}; "
            f"{versions}): run 'pip install --force-reinstall torch torchvision', both from one index."
        ) from error


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "is missing"


def training_iteration() -> int | None:
    """Detectron2's count of the training step under way, or None outside of a training.

    Main can be asked whether there is an ``EventStorage``; 0.5 only says so by an error.
    """
    from detectron2.utils.events import get_event_storage

    try:
        return get_event_storage().iter
    except AssertionError:
        return None


def create_local_process_group(processes_per_machine: int) -> None:
    """Tell Detectron2 which processes share this machine; call it in all, after ``init_process_group``.

    Main has the function; 0.5 sets the group inside of ``launch()``, which assumes CUDA. A second call does nothing.
    """
    import torch.distributed as dist
    from detectron2.utils import comm

    if comm._LOCAL_PROCESS_GROUP is not None:
        return
    if hasattr(comm, "create_local_process_group"):
        comm.create_local_process_group(processes_per_machine)
        return
    machine = dist.get_rank() // processes_per_machine
    for i in range(dist.get_world_size() // processes_per_machine):
        first = i * processes_per_machine
        # Every process must take part in making every group.
        group = dist.new_group(list(range(first, first + processes_per_machine)))
        if i == machine:
            comm._LOCAL_PROCESS_GROUP = group


def create_ddp_model(model: "nn.Module", *, broadcast_buffers: bool = True, **kwargs: Any) -> "nn.Module":
    """Wrap ``model`` in DistributedDataParallel if there is more than one process, on CPU as well as on CUDA.

    Detectron2's own passes ``device_ids=[local rank]``, which DDP refuses for a model on the CPU.

    Args:
        model: the bare one.
        broadcast_buffers: whether buffers are shared in every step.
        kwargs: of DDP.
    """
    from detectron2.utils import comm
    from torch.nn.parallel import DistributedDataParallel

    if comm.get_world_size() == 1:
        return model
    options = inspect.signature(DistributedDataParallel.__init__).parameters
    # torch 2.15 renamed the option.
    kwargs["forward_sync_buffers" if "forward_sync_buffers" in options else "broadcast_buffers"] = broadcast_buffers
    device = next(model.parameters()).device
    kwargs.setdefault("device_ids", [device.index] if device.type == "cuda" else None)
    return DistributedDataParallel(model, **kwargs)
