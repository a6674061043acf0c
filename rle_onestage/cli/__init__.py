"""The command ``rle-onestage``: a sub-command for each job, thin, each a module of this room.

Nothing is imported before it is needed, so that help comes at once.
"""

import difflib
import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

from rle_onestage import __version__
from rle_onestage.console import leaving_at_once
from rle_onestage.utils.arguments import PROGRAM


class Command(NamedTuple):
    """A sub-command: the module of this room whose ``main`` does it, and one line of help."""

    module: str
    text: str


COMMANDS = {
    "demo": Command("demo", "find people in images, videos or the camera"),
    "predict": Command("predict", "find people in many images: folders, shards, videos; on several machines"),
    "train": Command("train", "train a model"),
    "evaluate": Command("evaluate", "measure a model, or a file of results, on a data set"),
    "calibrate": Command("calibrate", "measure and correct a model's sigmas on held-out images"),
    "export": Command("export", "write a model as one file for other runtimes: ONNX, OpenVINO, torch.export"),
    "label-images": Command("label_images", "label people in images with a model, as a COCO-format file"),
    "label-errors": Command("label_errors", "list and draw labels that a model finds unlikely"),
    "visualize-data": Command("visualize_data", "draw what the model is fed, or what annotation files say"),
    "convert-dataset": Command("convert_dataset", "convert a data set between COCO's format and YOLO-pose"),
    "score-results": Command("score_results", "score a file of COCO keypoint results, as evaluate --results"),
    "worst-images": Command("worst_images", "draw the images that an evaluated model did worst on"),
    "slim": Command("slim", "write a checkpoint that has only what inference needs"),
    "install-detectron2": Command("install_detectron2", "give this Python a Detectron2"),
}


def overview() -> str:
    """The help of the command itself."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {command.text}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            f"usage: {PROGRAM} COMMAND ...",
            "",
            "One-stage multi-person pose estimation with Residual Log-likelihood Estimation.",
            "",
            "commands:",
            *lines,
            "",
            f"'{PROGRAM} COMMAND --help' shows flags and examples, '{PROGRAM} --version' the version.",
            "",
            "example:",
            f"  {PROGRAM} demo --input photo.jpg --output out",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says.

    Args:
        arguments: without the program's name; None takes those of this process.

    Returns:
        The exit code.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if words[0] in ("-V", "--version", "version"):
        print(f"{PROGRAM} {__version__}")
        return 0
    if words[0] not in COMMANDS:
        near = difflib.get_close_matches(words[0], COMMANDS, n=1, cutoff=0.5)
        remedy = f"did you mean {near[0]}?" if near else f"'{PROGRAM} --help' lists those there are"
        print(f"error: there is no command {words[0]!r}; {remedy}", file=sys.stderr)
        return 2
    with leaving_at_once():
        module = importlib.import_module(f"{__name__}.{COMMANDS[words[0]].module}")
    return module.main(words[1:]) or 0
