"""People in images: drawn, shown, and written as COCO results."""

import logging
import os

from ..errors import MediaError
from ..evaluation.results import instances_to_coco
from ..utils.images import UnreadableImage, read_image
from ..utils.signals import StopRequest
from ..video import io as media
from .options import check_outputs, draw
from .progress import Tally, progress
from .results import ImageResults

logger = logging.getLogger(__name__)


def run_images(predictor, inputs, options):
    """Find people in image files, folders and globs.

    An image that cannot be read, looked at, or written is named and counted, and costs that image alone. Results are
    written as they come, see :class:`~.results.ImageResults`.

    Args:
        predictor: image -> ``Instances``.
        inputs: files, folders and globs.
        options: :class:`~.options.DemoOptions`.

    Returns:
        the exit code: 0, also where images that cannot be read were left out; 1 where images could not be written;
        128 + signal when interrupted.

    Raises:
        MediaError: an input does not exist, no image could be read, none could be written, or not all results could.
    """
    files = media.find_images(inputs)
    outputs = media.output_paths(files, options.output) if options.output else [None] * len(files)
    written = outputs if options.output else []
    check_outputs(options, os.path.dirname(outputs[0]) if options.output else None, [*files, *written])
    ids, tally, unreadable, unwritten = image_ids(files), Tally(), [], []
    with StopRequest() as stop, ImageResults(options.json) as results:
        for file, output, image_id in progress(list(zip(files, outputs, ids)), len(files), "image", tally):
            found = _found(predictor, file, options, tally)
            if found is None:
                unreadable.append(file)
                continue
            results.add(_results(found[1], image_id, options.category_id, os.path.basename(file)))
            try:
                goes_on = _show_or_write(*found, output, options)
            except MediaError as error:
                logger.warning("the image of %s is left out: %s", file, error)
                unwritten.append(error)
                goes_on = True
            if not goes_on or stop.signum:
                break
    if len(unreadable) == len(files):
        raise MediaError(f"none of the {len(files)} inputs can be read as an image (first: {files[0]}); check --input")
    if unwritten and len(unwritten) == tally.images:
        raise MediaError(f"none of {len(unwritten)} images could be written, the last because {unwritten[-1]}")
    left_out = f"; {len(unreadable)} unreadable images left out" if unreadable else ""
    logger.info("%s%s%s", tally, left_out, f"; {len(unwritten)} images not written" if unwritten else "")
    return stop.exit_code if stop.signum else 1 if unwritten else 0


def _found(predictor, file, options, tally):
    """The image and its people; None, and a warning, where that is not to be had."""
    try:
        image = read_image(file)
        return image, tally.predict(predictor, image, options.threshold)
    except UnreadableImage as error:
        reason = error.reason
    except (MemoryError, RuntimeError) as error:
        if "memory" not in str(error).lower() and not isinstance(error, MemoryError):
            raise  # not the image's fault
        reason = "it is too large for the memory"
    logger.warning("left out %s: %s", file, reason)
    return None


def _show_or_write(image, people, output, options):
    """False when the user closed the window."""
    if output:
        media.write_image(output, draw(image, people, options))
    elif not options.json:
        return media.show(draw(image, people, options), 0)
    return True


def _results(people, image_id, category_id, file_name):
    return [{**result, "file_name": file_name} for result in instances_to_coco(people, image_id, category_id)]


def image_ids(files):
    """COCO ids: the number that each file is named with (as in COCO: 000000000139.jpg), else 1, 2, ..."""
    stems = [os.path.splitext(os.path.basename(file))[0] for file in files]
    if all(stem.isdecimal() for stem in stems) and len({int(stem) for stem in stems}) == len(stems):
        return [int(stem) for stem in stems]
    return list(range(1, len(files) + 1))
