"""People in videos, cameras and streams: stages side by side, so that the slowest sets the pace."""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from detectron2.structures import Instances

from ..errors import counted
from ..evaluation.joint_factors import density_factors
from ..evaluation.tracks import TrackWriter
from ..utils.signals import StopRequest
from ..video import io as media
from ..video.io.formats import check_frame_size
from ..visualization import VideoDrawer, draw_tag
from . import pipeline
from .load import Load
from .options import DemoOptions, Drawing, check_outputs, video_path
from .progress import best_score, progress
from .threads import Ahead

T = TypeVar("T")
logger = logging.getLogger(__name__)

# Frames that wait between two stages: enough for stages of uneven pace, few enough for 4K.
_WAITING = 2
_PATIENCE = 60
_STALLED = 2  # seconds after a signal without a frame: the source hangs


def run_video(
    predictor: Callable[[np.ndarray], Instances],
    source: media.Source,
    options: DemoOptions,
    tracker: pipeline.TracksPeople | None = None,
) -> int:
    """Find people in a video file, a folder of frames, a stream or a camera, and track them.

    Reading, the model, tracking, and drawing each run in a thread; writing and the window in the caller's. What was
    written before an interruption (Ctrl-C, SIGTERM, SIGHUP) or an error remains playable, and its results complete.

    Args:
        predictor: image -> ``Instances``.
        source: path, address, or a camera's number; see :class:`~rle_onestage.video.io.VideoReader`.
        options: :class:`~.options.DemoOptions`.
        tracker: None, or a :class:`~.pipeline.TracksPeople`: it gets all people that the model finds, and what it
            gives is drawn and written as it is. Without, people below the threshold are left out.

    Returns:
        the exit code: 0, or 128 + signal when interrupted.

    Raises:
        MediaError: the source cannot be read, or an output cannot be written (on).
    """
    with media.VideoReader(source, fps=options.fps, reconnect=options.reconnect) as video, StopRequest() as stop:
        path = video_path(source, options.output) if options.output else None
        files = [file for file in (media.local_path(source), path) if file]
        check_outputs(options, os.path.dirname(path) if path else None, files)
        if path and options.draw is None:  # before the first frame; who draws may also change the size
            check_frame_size(path, video.size)
        if path and video.sound_note:
            logger.warning("%s: %s", video.name, video.sound_note)
        load = Load()
        try:
            writer = None
            with contextlib.ExitStack() as outputs:
                if path:
                    writer = outputs.enter_context(_video_writer(path, video))
                results = None
                if options.json:
                    results = outputs.enter_context(TrackWriter(options.json, _header(video, options)))
                _run(predictor, video, options, tracker, load, stop, writer, results)
        finally:
            _report(video, writer if load.frames else None)
    logger.info("%s", load)
    written = [f"the video is {path}"] if path and load.frames else []
    written += [f"results are in {options.json}"] if options.json else []
    said = "; ".join([f"{_people(load)} found in {counted(load.frames, 'frame')}", *written])
    logger.info("%s%s", "interrupted: " if stop.signum else "", said)
    if load.best and not load.people:
        reach = "is sure enough for a track" if tracker else f"reaches {options.threshold:g}"
        logger.info("nobody %s; %s", reach, best_score(load.best))
    return stop.exit_code if stop.signum else 0


def _people(load: Load) -> str:
    """How many people were found: tracked ones count once, others in each frame."""
    if load.tracks:
        return f"{counted(len(load.tracks), 'tracked person', 'tracked people')} ({load.people} in all frames)"
    return counted(load.people, "person", "people")


def _video_writer(path: str, video: media.VideoReader) -> media.VideoWriter:
    return media.VideoWriter(path, video.fps, sound_path=video.sound_path, sound_start=video.start)


def _header(video: media.VideoReader, options: DemoOptions) -> dict[str, Any]:
    return {
        "source": os.path.basename(video.name) or video.name,
        "width": video.size[0],
        "height": video.size[1],
        "fps": video.fps,
        "skeleton": options.skeleton.name,
        "keypoints": list(options.skeleton.names),
        "limbs": [[a + 1, b + 1] for a, b in options.skeleton.limbs],  # from 1, as in COCO's files
        **density_factors(options.density),
    }


def _run(
    predictor: Callable[[np.ndarray], Instances],
    video: media.VideoReader,
    options: DemoOptions,
    tracker: pipeline.TracksPeople | None,
    load: Load,
    stop: StopRequest,
    writer: media.VideoWriter | None,
    results: TrackWriter | None,
) -> None:
    """Put the stages together, take what comes out of them, and end their threads whatever happens."""
    window = writer is None and results is None
    threads: list[Ahead[Any]] = []

    def ahead(items: Iterable[T], name: str, length: int = _WAITING) -> Ahead[T]:
        thread = Ahead(items, length, name)
        threads.append(thread)
        return thread

    def idle() -> None:
        if stop.signum:
            video.stop()

    def stalled() -> bool:
        return bool(stop.signum) and time.monotonic() > stop.since + _STALLED

    try:
        frames = ahead(pipeline.read(video, load, stop), "reading", max(_WAITING, options.batch)).taken(stalled)
        everybody = tracker is not None
        found = pipeline.predict(frames, predictor, options, load, stop, everybody=everybody, live=video.live)
        seen = ahead(found, "model")
        if tracker is not None:
            seen = ahead(pipeline.track(seen, tracker, load), "tracking")
        drawing = None
        if window or writer is not None:
            drawing = options.draw or _drawing(options, load, tracker is not None, window)
        if window:  # shown by the caller's thread, because windows belong to the main one
            drawn = pipeline.paint(seen.taken(idle), drawing, load)
        else:
            drawn = ahead(pipeline.paint(seen, drawing, load), "drawing").taken(idle)
        _take(progress(drawn, video.frames or None, "frame", load), load, writer, results, window)
    finally:
        _end(threads, video, stop)


def _take(
    drawn: Iterable[pipeline.Drawn],
    load: Load,
    writer: media.VideoWriter | None,
    results: TrackWriter | None,
    window: bool,
) -> None:
    """Write or show what comes; ends where the user closes the window."""
    for frame, people, image in drawn:
        with load.of("writing"):
            if results is not None:
                results.write(people, frame.number, frame.time)
            if writer is not None and image is not None:
                writer.write(image, frame.time)
        load.frames, load.people = load.frames + 1, load.people + len(people)
        if people.has("ID"):
            load.tracks.update(people.ID.tolist())
        if window and image is not None and not media.show(image, 1):
            return
        del frame, people, image  # not held while the next one is made


def _end(threads: Sequence[Ahead[Any]], video: media.VideoReader, stop: StopRequest) -> None:
    """End the threads, the last stage first, so that none waits for another; reading may hang on its source."""
    video.stop()
    for thread in reversed(threads):
        thread.close()
    for thread in threads:
        if not thread.join(_STALLED if stop.signum and thread is threads[0] else _PATIENCE):
            logger.warning("a thread of the pipeline did not end within %d s", _PATIENCE)


def _drawing(options: DemoOptions, load: Load, tracked: bool, window: bool) -> Drawing:
    """What draws a frame when the user gave nothing; a window also shows the frames per second."""
    drawer = VideoDrawer(
        options.skeleton,
        legend=options.legend,
        threshold=0.0 if tracked else options.threshold,
        draw_sigma=options.draw_sigma,
        draw_boxes=options.draw_boxes,
        hidden=options.hidden,
    )

    def with_rate(image: np.ndarray, people: Instances, time: float) -> np.ndarray:
        drawn, rate = drawer(image, people, time), load.tick()
        if rate:
            draw_tag(drawn, f"{rate:.1f} frames/s", (6, 6), max(11, min(image.shape[:2]) // 40))
        return drawn

    return with_rate if window else drawer


def _report(*parts: media.VideoReader | media.VideoWriter | None) -> None:
    """Say what was amiss with the source and the video."""
    for part in parts:
        if part is not None and part.report():
            logger.warning("%s", part.report())
