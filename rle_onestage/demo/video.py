"""People in videos, cameras and streams: stages side by side, so that the slowest sets the pace."""

import contextlib
import logging
import os
import time

from ..evaluation.tracks import TrackWriter
from ..utils.signals import StopRequest
from ..video import io as media
from ..video.io.formats import check_frame_size
from ..visualization import VideoDrawer, draw_tag
from . import pipeline
from .load import Load
from .options import check_outputs, video_path
from .progress import progress
from .threads import Ahead

logger = logging.getLogger(__name__)

# Frames that wait between two stages: enough for stages of uneven pace, few enough for 4K.
_WAITING = 2
_PATIENCE = 60
_STALLED = 2  # seconds after a signal without a frame: the source hangs


def run_video(predictor, source, options, follower=None):
    """Find people in a video file, a folder of frames, a stream or a camera, and follow them.

    Reading, the model, following, and drawing each run in a thread; writing and the window in the caller's. What was
    written before an interruption (Ctrl-C, SIGTERM, SIGHUP) or an error remains playable, and its results complete.

    Args:
        predictor: image -> ``Instances``.
        source: path, address, or a camera's number; see :class:`~rle_onestage.video.io.VideoReader`.
        options: :class:`~.options.DemoOptions`.
        follower: None, or what follows people (see :func:`~.pipeline.follow`): it gets all people that the model finds,
            and what it gives is drawn and written as it is. Without, people below the threshold are left out.

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
            with contextlib.ExitStack() as outputs:
                writer = path and outputs.enter_context(_video_writer(path, video))
                results = options.json and outputs.enter_context(TrackWriter(options.json, _header(video, options)))
                _run(predictor, video, options, follower, load, stop, writer, results)
        finally:
            _report(video, writer if path and load.frames else None)
    logger.info("%s; %d people%s", load, load.people, f"; {path}" if path and load.frames else "")
    return stop.exit_code if stop.signum else 0


def _video_writer(path, video):
    return media.VideoWriter(path, video.fps, sound_path=video.sound_path, sound_start=video.start)


def _header(video, options):
    return {
        "source": os.path.basename(video.name) or video.name,
        "width": video.size[0],
        "height": video.size[1],
        "fps": video.fps,
        "skeleton": options.skeleton.name,
        "keypoints": list(options.skeleton.names),
    }


def _run(predictor, video, options, follower, load, stop, writer, results):
    """Put the stages together, take what comes out of them, and end their threads whatever happens."""
    window = writer is None and results is None
    threads = []

    def ahead(items, name, length=_WAITING):
        threads.append(Ahead(items, length, name))
        return threads[-1]

    def idle():
        if stop.signum:
            video.stop()

    def stalled():
        return stop.signum and time.monotonic() > stop.since + _STALLED

    try:
        frames = ahead(pipeline.read(video, load, stop), "reading", max(_WAITING, options.batch))
        frames = frames.taken(stalled)
        everybody = follower is not None
        seen = pipeline.predict(frames, predictor, options, load, stop, everybody=everybody, live=video.live)
        seen = ahead(seen, "model")
        if follower is not None:
            seen = ahead(pipeline.follow(seen, follower, load), "tracking")
        drawing = None
        if window or writer is not None:
            drawing = options.draw or _drawing(options, load, follower is not None, window)
        if window:  # shown by the caller's thread, because windows belong to the main one
            drawn = pipeline.paint(seen.taken(idle), drawing, load)
        else:
            drawn = ahead(pipeline.paint(seen, drawing, load), "drawing").taken(idle)
        _take(progress(drawn, video.frames or None, "frame", load), load, writer, results, window)
    finally:
        _end(threads, video, stop)


def _take(drawn, load, writer, results, window):
    for frame, people, picture in drawn:
        with load.of("writing"):
            if results is not None:
                results.write(people, frame.number, frame.time)
            if writer is not None:
                writer.write(picture, frame.time)
        load.frames, load.people = load.frames + 1, load.people + len(people)
        if window and not media.show(picture, 1):
            return
        frame = people = picture = None


def _end(threads, video, stop):
    """End the threads, the last stage first, so that none waits for another; reading may hang on its source."""
    video.stop()
    for thread in reversed(threads):
        thread.close()
    for thread in threads:
        if not thread.join(_STALLED if stop.signum and thread is threads[0] else _PATIENCE):
            logger.warning("a thread of the pipeline did not end within %d s", _PATIENCE)


def _drawing(options, load, followed, window):
    """What draws a frame when the user gave nothing; a window also shows the frames per second."""
    drawer = VideoDrawer(
        options.skeleton,
        legend=options.legend,
        threshold=0.0 if followed else options.threshold,
        draw_sigma=options.draw_sigma,
        draw_boxes=options.draw_boxes,
    )

    def with_rate(image, people, time):
        drawn, rate = drawer(image, people, time), load.tick()
        if rate:
            draw_tag(drawn, f"{rate:.1f} frames/s", (6, 6), max(11, min(image.shape[:2]) // 40))
        return drawn

    return with_rate if window else drawer


def _report(*parts):
    """Say what was amiss with the source and the video."""
    for part in parts:
        if part is not None and part.report():
            logger.warning("%s", part.report())
