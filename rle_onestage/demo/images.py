"""People in pictures: drawn, shown, and written as COCO results."""

import logging
import os

from .. import media
from ..data.images import UnreadableImage, read_image
from ..engine.signals import StopRequest
from ..errors import MediaError
from ..evaluation.results import instances_to_coco, write_json
from .options import check_outputs, draw
from .progress import Tally, progress

logger = logging.getLogger(__name__)


def run_images(predictor, inputs, options):
    """Find people in image files, folders and globs.

    Images that cannot be read are named, counted and left out.

    Args:
        predictor: image -> ``Instances``.
        inputs: files, folders and globs.
        options: :class:`DemoOptions`.

    Returns:
        the exit code: 0, or 128 + signal when interrupted.

    Raises:
        MediaError: an input does not exist, no image could be read, or an output cannot be written.
    """
    files = media.find_images(inputs)
    outputs = media.output_paths(files, options.output) if options.output else [None] * len(files)
    written = outputs if options.output else []
    check_outputs(options, os.path.dirname(outputs[0]) if options.output else None, [*files, *written])
    ids, tally, results, unreadable = image_ids(files), Tally(), [], []
    with StopRequest() as stop:
        for file, output, image_id in progress(list(zip(files, outputs, ids)), len(files), "image", tally):
            try:
                image = read_image(file)
            except UnreadableImage as error:
                logger.warning("left out %s: %s", file, error.reason)
                unreadable.append(file)
                continue
            people = tally.predict(predictor, image, options.threshold)
            results.extend(_results(people, image_id, os.path.basename(file)))
            if not _show_or_write(image, people, output, options) or stop.signum:
                break
    if len(unreadable) == len(files):
        raise MediaError(f"none of the {len(files)} inputs can be read as an image (first: {files[0]}); check --input")
    if options.json:
        write_json(results, options.json)
    logger.info("%s%s", tally, f"; {len(unreadable)} unreadable images left out" if unreadable else "")
    return stop.exit_code if stop.signum else 0


def _show_or_write(image, people, output, options):
    """False when the user closed the window."""
    if output:
        media.write_image(output, draw(image, people, options))
    elif not options.json:
        return media.show(draw(image, people, options), 0)
    return True


def _results(people, image_id, file_name):
    return [{**result, "file_name": file_name} for result in instances_to_coco(people, image_id)]


def image_ids(files):
    """COCO ids: the number that each file is named with (as in COCO: 000000000139.jpg), else 1, 2, ..."""
    stems = [os.path.splitext(os.path.basename(file))[0] for file in files]
    if all(stem.isdecimal() for stem in stems) and len({int(stem) for stem in stems}) == len(stems):
        return [int(stem) for stem in stems]
    return list(range(1, len(files) + 1))
