"""Pictures and videos: what inputs name, frames in, frames out.

Outputs are written under a temporary name and renamed when complete; a video that is cut short (Ctrl-C, SIGTERM, an
error) is closed and renamed too, so that what was written plays.
"""

import contextlib
import glob
import math
import os
import sys

import cv2

from .errors import MediaError

IMAGE_TYPES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
VIDEO_TYPES = (".mp4", ".m4v", ".mov", ".avi", ".mkv")
_DEFAULT_FPS = 25.0


def find_images(inputs):
    """The image files that files, folders and globs name, in order and without repetition.

    A folder means the images directly in it, by name; a file is taken whatever its name ends with.

    Raises:
        MediaError: something does not exist, a glob matches nothing, or a folder has no images.
    """
    found = []
    for given in inputs:
        path = os.path.expanduser(given)
        if os.path.isdir(path):
            names = sorted(n for n in os.listdir(path) if n.lower().endswith(IMAGE_TYPES))
            if not names:
                raise MediaError(f"folder {given} has no images ({', '.join(IMAGE_TYPES)}); name another with --input")
            found.extend(os.path.join(path, name) for name in names)
        elif os.path.isfile(path):
            found.append(path)
        elif glob.has_magic(path):
            matches = sorted(p for p in glob.glob(path, recursive=True) if os.path.isfile(p))
            if not matches:
                raise MediaError(f"no file matches {given}; check the pattern of --input")
            found.extend(matches)
        else:
            raise MediaError(f"input {given} does not exist; check --input")
    return list(dict.fromkeys(found))


def output_paths(inputs, output):
    """Where the picture of each input goes.

    With one input and an output that is named like an image, that file; else the output is a folder. Inputs of the same
    name get a number.

    Args:
        inputs: image files.
        output: what the user gave.

    Returns:
        list of paths, as long as the inputs.

    Raises:
        MediaError: an output would overwrite an input, or several inputs were given and the output is a file.
    """
    is_file = output.lower().endswith(IMAGE_TYPES) and not os.path.isdir(output)
    if is_file and len(inputs) > 1:
        raise MediaError(f"output {output} is one file but there are {len(inputs)} inputs; give a folder with --output")
    if not is_file and os.path.isfile(output):
        raise MediaError(f"output {output} is a file that does not end with an image type; give a folder with --output")
    paths, taken = [], set()
    for source in inputs:
        path = output if is_file else os.path.join(output, os.path.basename(source))
        root, ending = os.path.splitext(path)
        ending = ending if ending.lower() in IMAGE_TYPES else ".jpg"
        path, number = root + ending, 2
        while path in taken:
            path, number = f"{root}_{number}{ending}", number + 1
        taken.add(path)
        paths.append(path)
    sources = {os.path.realpath(source) for source in inputs}
    for path in paths:
        if os.path.realpath(path) in sources:
            raise MediaError(f"{path} is an input and would be overwritten; give another folder with --output")
    return paths


def make_folder(path):
    """Make a folder and check that it can be written.

    Raises:
        MediaError: it cannot.
    """
    try:
        os.makedirs(path or ".", exist_ok=True)
    except OSError as error:
        raise MediaError(
            f"output folder {path} cannot be made ({error.strerror}); give another with --output"
        ) from error
    if not os.access(path or ".", os.W_OK):
        raise MediaError(f"output folder {path} cannot be written; give another with --output")


def write_image(path, image):
    """Write a BGR image, whole or not at all.

    Raises:
        MediaError: it cannot be written.
    """
    ending = os.path.splitext(path)[1]
    temporary = f"{path}.tmp{os.getpid()}"
    try:
        quality = [cv2.IMWRITE_JPEG_QUALITY, 95] if ending.lower() in (".jpg", ".jpeg") else []
        encoded, data = cv2.imencode(ending, image, quality)
        if not encoded:
            raise MediaError(f"{path} cannot be written as {ending}; choose .jpg or .png")
        with open(temporary, "wb") as file:
            file.write(data.tobytes())
        os.replace(temporary, path)
    except cv2.error as error:
        raise MediaError(f"{path} cannot be written as {ending}; choose .jpg or .png") from error
    except OSError as error:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        raise MediaError(f"{path} cannot be written ({error.strerror}); give another place with --output") from error


class VideoReader:
    """Frames of a video file or a camera.

    Args:
        source: path, or a camera's number.

    Attributes:
        fps: frames per second (25 where the source does not say). frames: their number, 0 if unknown.
        size: (width, height).

    Raises:
        MediaError: it does not exist, does not open, or has no frame that can be read.
    """

    def __init__(self, source):
        self.name = f"camera {source}" if isinstance(source, int) else str(source)
        if not isinstance(source, int) and not os.path.isfile(source):
            raise MediaError(f"video {source} does not exist; check --video-input")
        with _quiet_stderr():
            self._capture = cv2.VideoCapture(source)
            self._first = self._capture.read()[1] if self._capture.isOpened() else None
        if self._first is None:
            self._capture.release()
            remedy = (
                "check that it is connected" if isinstance(source, int) else "check that it is a video and is complete"
            )
            raise MediaError(f"{self.name} cannot be opened or has no readable frame; {remedy}")
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if math.isfinite(fps) and 0 < fps <= 1000 else _DEFAULT_FPS
        self.frames = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.size = self._first.shape[1], self._first.shape[0]

    def __iter__(self):
        """Yield (H, W, 3) BGR uint8 frames."""
        frame, self._first = self._first, None
        while frame is not None:
            yield frame
            frame = self._capture.read()[1]

    def close(self):
        """Release the file or camera."""
        self._capture.release()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


class VideoWriter:
    """Writes an MP4 (or the container that the path's ending names) under a temporary name, renamed on leaving.

    Use it as a context manager: whatever ends the block, the file is completed and what was written plays. Without any
    frame, nothing is left behind.

    Args:
        path: of the video; its folder is made.
        fps: frames per second.
        size: (width, height).

    Raises:
        MediaError: it cannot be written.
    """

    def __init__(self, path, fps, size):
        make_folder(os.path.dirname(path))
        self.path, self.frames = path, 0
        root, ending = os.path.splitext(path)
        self._temporary = f"{root}.tmp{os.getpid()}{ending}"
        # MPEG-4 comes with every OpenCV; its H.264 encoder depends on the machine.
        for code in ("mp4v", "avc1"):
            with _quiet_stderr():
                self._writer = cv2.VideoWriter(self._temporary, cv2.VideoWriter_fourcc(*code), fps, tuple(size))
            if self._writer.isOpened():
                return
        self._remove()
        raise MediaError(
            f"video {path} cannot be written; give a path that ends with .mp4 in a folder that can be written"
        )

    def write(self, frame):
        """Append a (height, width, 3) BGR uint8 frame."""
        self._writer.write(frame)
        self.frames += 1

    def close(self):
        """Complete the file and give it its name."""
        self._writer.release()
        if not self.frames:
            self._remove()
            return
        try:
            os.replace(self._temporary, self.path)
        except OSError as error:
            raise MediaError(f"video {self.path} cannot be written ({error.strerror})") from error
        if not os.path.getsize(self.path):
            raise MediaError(f"video {self.path} is empty: the disk may be full")

    def _remove(self):
        with contextlib.suppress(OSError):
            os.remove(self._temporary)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


@contextlib.contextmanager
def _quiet_stderr():
    """Keep the libraries below OpenCV from writing about files that do not open: we say it in a sentence."""
    try:
        saved = os.dup(2)
    except OSError:
        yield
        return
    sys.stderr.flush()
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def has_display():
    """Whether a window can be shown."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def check_window():
    """Raises MediaError when no window can be shown."""
    if not has_display():
        raise MediaError("there is no display to show pictures on; give a folder or file with --output (or --json)")
    try:
        cv2.namedWindow(WINDOW, cv2.WINDOW_NORMAL)
    except cv2.error as error:
        raise MediaError(
            "this OpenCV cannot open windows (opencv-python-headless); give a folder or file with --output"
        ) from error


WINDOW = "rle-onestage"
_ESCAPE = 27


def show(image, wait_ms):
    """Show an image in the window.

    Args:
        image: BGR uint8.
        wait_ms: how long to wait for a key; 0 waits for one.

    Returns:
        False when the user pressed Escape or q, or closed the window.
    """
    cv2.imshow(WINDOW, image)
    key = cv2.waitKey(wait_ms) & 0xFF
    return key not in (_ESCAPE, ord("q")) and cv2.getWindowProperty(WINDOW, cv2.WND_PROP_VISIBLE) >= 1
