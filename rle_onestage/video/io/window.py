"""The window in which images are shown, where the machine has a display."""

import os
import subprocess
import sys

import cv2
import numpy as np

from ...errors import MediaError

WINDOW = "rle-onestage"
_ESCAPE = 27
_PATIENCE = 30  # seconds
_NO_WINDOWS = 3
_TRIAL = f"""
import cv2
try:
    cv2.namedWindow("trial")
except cv2.error:
    raise SystemExit({_NO_WINDOWS})
"""


def has_display() -> bool:
    """Whether a window can be shown."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def check_window() -> None:
    """Raises MediaError when no window can be shown."""
    if not has_display():
        raise MediaError("there is no display to show images on; give a folder or file with --output (or --json)")
    code = _try_window()
    if code == _NO_WINDOWS:
        raise MediaError(
            "this OpenCV cannot open windows (opencv-python-headless); give a folder or file with --output"
        )
    if code:
        display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or "of this machine"
        raise MediaError(f"the display {display} cannot be reached; give a folder or file with --output (or --json)")
    cv2.namedWindow(WINDOW, cv2.WINDOW_NORMAL)


def _try_window() -> int:
    """Open a window in a process of its own, because Qt ends the process where it finds no display; its exit code."""
    try:
        done = subprocess.run([sys.executable, "-c", _TRIAL], capture_output=True, timeout=_PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return 1
    return done.returncode


def show(image: np.ndarray, wait_ms: int) -> bool:
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
