"""People in images: drawn, shown, and written as COCO results."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from detectron2.structures import Instances

from ..errors import MediaError, counted
from ..evaluation.joint_factors import joint_factors, joints_path
from ..evaluation.results import instances_to_coco, write_json
from ..utils.images import UnreadableImage, read_image
from ..utils.output_files import kind_of
from ..utils.signals import StopRequest
from ..video import io as media
from .left_out import is_expected, nothing_usable, reason_to_leave_out
from .options import DemoOptions, check_outputs, draw
from .progress import Tally, best_score, progress
from .results import ImageResults

logger = logging.getLogger(__name__)


def run_images(predictor: Callable[[np.ndarray], Instances], inputs: Iterable[str], options: DemoOptions) -> int:
    """Find people in image files, folders and globs.

    An image that cannot be read, looked at, drawn or written is named and counted, and costs that image alone, whatever
    goes wrong. Results are written as they come, see :class:`~.results.ImageResults`, and beside them, once, what
    :func:`~.evaluation.joint_factors.joint_factors` says of their joints.

    Args:
        predictor: image -> ``Instances``.
        inputs: files, folders and globs.
        options: :class:`~.options.DemoOptions`.

    Returns:
        the exit code: 0, also where images that are damaged or too large were left out; 1 where others failed or could
        not be written; 128 + signal when interrupted.

    Raises:
        MediaError: an input does not exist, no image could be read, none could be written, or not all results could.
    """
    files = media.find_images(inputs)
    written = media.output_paths(files, options.output) if options.output else []
    check_outputs(options, os.path.dirname(written[0]) if written else None, [*files, *written])
    outputs: list[str | None] = [*written] or [None] * len(files)
    ids, names, tally = image_ids(files), told_names(files), Tally()
    left_out: list[Exception] = []
    unwritten: list[str] = []
    with StopRequest() as stop, ImageResults(options.json) as results:
        for file, output, image_id, name in progress(list(zip(files, outputs, ids, names)), len(files), "image", tally):
            try:
                image = read_image(file)
                people = tally.predict(predictor, image, options.threshold)
            except Exception as error:
                logger.warning("left out %s: %s", file, reason_to_leave_out(error))
                left_out.append(error)
                continue
            results.add(_results(people, image_id, options.category_id, name))
            try:
                goes_on = _show_or_write(image, people, output, options)
            except Exception as error:
                reason = str(error) if isinstance(error, MediaError) else reason_to_leave_out(error)
                logger.warning("the image of %s is left out: %s", file, reason)
                unwritten.append(reason)
                goes_on = True
            if not goes_on or stop.signum:
                break
    if options.json and not kind_of(options.json):  # a pipe has no place beside it
        write_json(joint_factors(options.skeleton, options.density), joints_path(options.json))
        logger.info("names of the joints and half-widths of intervals are in %s", joints_path(options.json))
    if len(left_out) == len(files):
        raise nothing_usable(files, left_out[0])
    if unwritten and len(unwritten) == tally.images:
        raise MediaError(f"no image could be written, of {len(unwritten)}; the last because {unwritten[-1]}")
    logger.info("%s%s", "interrupted: " if stop.signum else "", _summary(tally, options, left_out, len(unwritten)))
    if tally.below is not None and not tally.people:
        logger.info("nobody reaches %g; %s", options.threshold, best_score(tally.below))
    failed = unwritten or not all(map(is_expected, left_out))
    return stop.exit_code if stop.signum else 1 if failed else 0


def _summary(tally: Tally, options: DemoOptions, left_out: list[Exception], unwritten: int) -> str:
    """What was found and written, where, and what is missing there."""
    parts = [str(tally)]
    if options.output:
        folder = "the folder " if os.path.isdir(options.output) else ""
        parts.append(f"{counted(tally.images - unwritten, 'image')} drawn in {folder}{options.output}")
    if options.json:
        parts.append(f"results in {options.json}")
    unreadable = sum(isinstance(error, UnreadableImage) for error in left_out)
    for number, what in (
        (unreadable, "could not be read"),
        (len(left_out) - unreadable, "could not be looked at"),
        (unwritten, "could not be written"),
    ):
        parts += [f"{counted(number, 'image')} {what}"] if number else []
    return "; ".join(parts)


def _show_or_write(image: np.ndarray, people: Instances, output: str | None, options: DemoOptions) -> bool:
    """False when the user closed the window."""
    if output:
        media.write_image(output, draw(image, people, options))
    elif not options.json:
        return media.show(draw(image, people, options), 0)
    return True


def _results(people: Instances, image_id: int, category_id: int | str, file_name: str) -> list[dict[str, Any]]:
    return [{**result, "file_name": file_name} for result in instances_to_coco(people, image_id, category_id)]


def told_names(files: Sequence[str]) -> list[str]:
    """How results name images: by the names of their files, or by the paths as given where a name occurs twice."""
    often = Counter(map(os.path.basename, files))
    return [file if often[os.path.basename(file)] > 1 else os.path.basename(file) for file in files]


def image_ids(files: Sequence[str]) -> list[int]:
    """COCO ids: the number that each file is named with (as in COCO: 000000000139.jpg), else 1, 2, ...

    Args:
        files: paths.
    """
    stems = [os.path.splitext(os.path.basename(file))[0] for file in files]
    if all(stem.isdecimal() for stem in stems) and len({int(stem) for stem in stems}) == len(stems):
        return [int(stem) for stem in stems]
    return list(range(1, len(files) + 1))
