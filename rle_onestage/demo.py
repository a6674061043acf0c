"""What ``tools/demo.py`` does: people in pictures, videos and the camera, drawn, shown, and written as COCO results."""

import logging
import os
import sys
import time
from typing import NamedTuple

from tqdm import tqdm

from . import media
from .data.images import UnreadableImage, read_image
from .engine.signals import StopRequest
from .errors import MediaError
from .evaluation.results import instances_to_coco, write_json
from .skeleton import Skeleton
from .visualization import draw_people, draw_tag

logger = logging.getLogger(__name__)


class DemoOptions(NamedTuple):
    """What the user asked for.

    ``output``: file or folder, or None for a window. ``json``: file for the results, or None. ``threshold``: lowest
    score that is drawn, counted and written.
    """

    skeleton: Skeleton
    output: str | None = None
    json: str | None = None
    threshold: float = 0.5
    draw_sigma: bool = False
    draw_boxes: bool = False


class Tally:
    """Counts and times of a run."""

    def __init__(self):
        self.images = self.people = 0
        self.seconds = 0.0
        self.recent = 0.0

    def predict(self, predictor, image, threshold):
        """Predict with the clock running; gives the people that reach the threshold."""
        start = time.perf_counter()
        people = predictor(image)
        spent = time.perf_counter() - start
        people = people[people.scores >= threshold]
        self.images, self.people, self.seconds = self.images + 1, self.people + len(people), self.seconds + spent
        self.recent = spent if self.images <= 2 else 0.9 * self.recent + 0.1 * spent
        return people

    def __str__(self):
        rate = self.images / max(self.seconds, 1e-9)
        each = 1000 * self.seconds / max(self.images, 1)
        return (
            f"{self.people} people in {self.images} images, {rate:.1f} images/s "
            f"({each:.0f} ms each, without reading and drawing)"
        )


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
    _check_outputs(options, os.path.dirname(outputs[0]) if options.output else None)
    ids, tally, results, unreadable = image_ids(files), Tally(), [], []
    with StopRequest() as stop:
        for file, output, image_id in _progress(list(zip(files, outputs, ids)), len(files), "image", tally):
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


def run_video(predictor, source, options):
    """Find people in a video file or a camera (its number). See :func:`run_images`.

    The frames written before an interruption (Ctrl-C, SIGTERM) remain playable, and their results are written.
    """
    with media.VideoReader(source) as video, StopRequest() as stop:
        path = _video_path(source, options.output) if options.output else None
        _check_outputs(options, os.path.dirname(path) if path else None)
        writer = media.VideoWriter(path, video.fps, video.size) if path else None
        tally, results = Tally(), []
        try:
            _run_frames(predictor, video, writer, options, tally, results, stop)
        finally:
            if writer:
                writer.close()
            if options.json:
                write_json(results, options.json)
    logger.info("%s%s", tally, f"; {path}" if path and writer.frames else "")
    return stop.exit_code if stop.signum else 0


def _run_frames(predictor, video, writer, options, tally, results, stop):
    name = os.path.basename(video.name)
    for number, frame in enumerate(_progress(video, video.frames or None, "frame", tally)):
        people = tally.predict(predictor, frame, options.threshold)
        results.extend(_results(people, number, f"{name}#{number}"))
        if writer or not options.json:
            drawn = _draw(frame, people, options, person_colours=False)
            draw_tag(drawn, f"{1 / max(tally.recent, 1e-9):.1f} frames/s", (6, 6), max(11, min(frame.shape[:2]) // 40))
            if writer:
                writer.write(drawn)
            elif not media.show(drawn, 1):
                return
        if stop.signum:
            return


def _check_outputs(options, folder):
    """Before the first image: fail now rather than after an hour."""
    if folder is not None:
        media.make_folder(folder)
    if options.json:
        media.make_folder(os.path.dirname(os.path.abspath(options.json)))
    if folder is None and not options.json:
        media.check_window()


def _video_path(source, output):
    """The output itself where it is named like a video, else a file in that folder."""
    if output.lower().endswith(media.VIDEO_TYPES) and not os.path.isdir(output):
        path = output
    elif os.path.isfile(output):
        raise MediaError(f"output {output} is a file that is no video; give a folder or a path that ends with .mp4")
    else:
        stem = f"camera{source}" if isinstance(source, int) else os.path.splitext(os.path.basename(source))[0]
        path = os.path.join(output, f"{stem}.mp4")
    if not isinstance(source, int) and os.path.realpath(path) == os.path.realpath(source):
        raise MediaError(f"{path} is the input and would be overwritten; give another place with --output")
    return path


def _draw(image, people, options, person_colours=True):
    return draw_people(
        image,
        people,
        options.skeleton,
        threshold=options.threshold,
        draw_sigma=options.draw_sigma,
        draw_boxes=options.draw_boxes,
        person_colours=person_colours,
    )


def _show_or_write(image, people, output, options):
    """False when the user closed the window."""
    if output:
        media.write_image(output, _draw(image, people, options))
    elif not options.json:
        return media.show(_draw(image, people, options), 0)
    return True


def _results(people, image_id, file_name):
    return [{**result, "file_name": file_name} for result in instances_to_coco(people, image_id)]


def image_ids(files):
    """COCO ids: the number that each file is named with (as in COCO: 000000000139.jpg), else 1, 2, ..."""
    stems = [os.path.splitext(os.path.basename(file))[0] for file in files]
    if all(stem.isdecimal() for stem in stems) and len({int(stem) for stem in stems}) == len(stems):
        return [int(stem) for stem in stems]
    return list(range(1, len(files) + 1))


def _progress(items, total, unit, tally):
    """A bar on a terminal; elsewhere a line every ten seconds."""
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, unit=unit, dynamic_ncols=True)
        return
    told = time.perf_counter()
    for item in items:
        yield item
        if time.perf_counter() - told > 10:
            told = time.perf_counter()
            logger.info("%s%s", tally, f"; {total} in all" if total else "")
