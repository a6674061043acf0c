"""What the user asked for, and whether it can be written."""

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from detectron2.structures import Instances

from ..errors import ConfigError, MediaError, check_score, shown
from ..evaluation.joint_factors import joints_path
from ..structures import ErrorDensity, Skeleton
from ..utils.output_files import check_target, kind_of
from ..video import io as media
from ..video.io.formats import check_rate
from ..visualization import draw_people, draw_people_3d
from ..visualization.people import HIDDEN

# (image (H, W, 3) BGR uint8, its people, seconds) -> image.
Drawing = Callable[[np.ndarray, Instances, float], np.ndarray]


@dataclass(frozen=True)
class DemoOptions:
    """What the user asked for.

    Attributes:
        skeleton: of the model.
        output: file or folder, or None for a window.
        json: file for the results, or None.
        threshold: lowest score that is drawn, counted and written; a tracker decides for itself.
        draw_sigma: draw ellipses of one and two standard deviations.
        draw_boxes: draw the boxes.
        batch: frames of a video that the model gets at once.
        fps: frames per second of a folder of frames; None for 25.
        reconnect: tries in a row to connect a live source that breaks off; 0: none.
        legend: explain colours and marks in a video.
        draw: what draws a frame of a video, a callable (image, people, seconds) -> image; None for a
            :class:`~.video.VideoDrawer`.
        category_id: of what is found, in the results of images.
        hidden: what is drawn of joints that the model takes for hidden: "show", "hollow" or "omit".
        draw_3d: draw pages of the image beside two views of its people in space.
        density: of the model's error, for the half-widths of intervals beside the results; None where the sigmas are
            not the model's own, as those of a filter.

    Raises:
        ConfigError: a value is out of its range.
    """

    skeleton: Skeleton
    output: str | None = None
    json: str | None = None
    threshold: float = 0.5
    draw_sigma: bool = False
    draw_boxes: bool = False
    batch: int = 1
    fps: float | None = None
    reconnect: int = 5
    legend: bool = False
    draw: Drawing | None = None
    category_id: int | str = 1
    hidden: str = "hollow"
    density: ErrorDensity | None = None
    draw_3d: bool = False

    def __post_init__(self) -> None:
        check_score(self.threshold, "the threshold (--confidence-threshold)")
        for name, least in (("batch", 1), ("reconnect", 0)):
            value = getattr(self, name)
            if value < least:
                raise ConfigError(f"{name} (--{name}) is {shown(value)}; give {least} or more")
        if self.hidden not in HIDDEN:
            raise ConfigError(f"hidden (--hidden) is {shown(self.hidden)}; choose one of {', '.join(HIDDEN)}")
        if self.fps is not None:
            check_rate(self.fps, "--fps")


def draw(image: np.ndarray, people: Instances, options: DemoOptions) -> np.ndarray:
    """The people of an image drawn as the options say.

    Args:
        image: (H, W, 3) BGR uint8.
        people: in it.
        options: :class:`DemoOptions`.

    Returns:
        (H, W, 3) BGR uint8, another array.
    """
    if options.draw_3d:
        return draw_people_3d(
            image,
            people,
            options.skeleton,
            threshold=options.threshold,
            draw_sigma=options.draw_sigma,
            draw_boxes=options.draw_boxes,
            hidden=options.hidden,
        )
    return draw_people(
        image,
        people,
        options.skeleton,
        threshold=options.threshold,
        draw_sigma=options.draw_sigma,
        draw_boxes=options.draw_boxes,
        hidden=options.hidden,
    )


def check_outputs(options: DemoOptions, folder: str | None, files: Iterable[str]) -> None:
    """Before the first image: fail now rather than after an hour, or find nobody.

    Args:
        options: :class:`DemoOptions`.
        folder: of the output, or None.
        files: inputs and outputs, which the results must not replace.

    Raises:
        MediaError: something cannot be written, or would be overwritten.
    """
    for path, option in ((options.output, "--output"), (options.json, "--json")):
        if path == "":
            raise MediaError(f"the name after {option} is empty; give a file, or leave {option} out")
    if options.json:
        check_target(options.json, "--json")
        check_target(joints_path(options.json), "--json")  # beside the results of images
    if options.json and os.path.realpath(options.json) in map(os.path.realpath, files):
        raise MediaError(f"{options.json} would be overwritten; give another file with --json")
    if folder is not None:
        media.make_folder(folder)
    if options.json and not kind_of(options.json):
        media.make_folder(os.path.dirname(os.path.abspath(options.json)))
    if folder is None and not options.json:
        media.check_window()


def video_path(source: media.Source, output: str) -> str:
    """Where the video goes: the output itself where it is named like a video, else a file in that folder.

    Args:
        source: path, address, or a camera's number.
        output: what the user gave.

    Raises:
        MediaError: it is a file of another kind, or the source itself.
    """
    if media.looks_like_video(output) and not os.path.isdir(output):
        path = output
    elif os.path.isfile(output):
        raise MediaError(f"output {output} is a file that is no video; give a folder or a path that ends with .mp4")
    else:
        if not os.path.isdir(output):
            media.check_new_folder(output, media.VIDEO_TYPES)
        path = os.path.join(output, f"{_stem(source)}.mp4")
    local = media.local_path(source)
    if local and os.path.realpath(path) == os.path.realpath(local):
        raise MediaError(f"{path} is the input and would be overwritten; give another place with --output")
    return path


def _stem(source: media.Source) -> str:
    """A file name for what comes from a source."""
    if isinstance(source, int):
        return f"camera{source}"
    name = os.path.basename(os.path.abspath(str(media.without_password(source))))
    if media.is_address(source):
        return re.sub(r"[^A-Za-z0-9_-]+", "_", name.split("?")[0]).strip("_") or "stream"
    return name if os.path.isdir(source) else os.path.splitext(name)[0]
