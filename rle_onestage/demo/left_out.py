"""Why an image is left out of a run: what goes wrong with one costs that one alone, whatever it is."""

from collections.abc import Sequence

from ..errors import DataError, MediaError, PoseError
from ..utils.images import UnreadableImage

TOO_LARGE = "it is too large for the memory"


def reason_to_leave_out(error: Exception) -> str:
    """A clause about an image with which an error came.

    Args:
        error: of reading it, of the model, or of drawing.

    Raises:
        PoseError: the error itself, where it is not the image's: a config, weights, or an output are wrong for all.
    """
    if isinstance(error, UnreadableImage):
        return error.reason
    if isinstance(error, PoseError) and not isinstance(error, DataError):
        raise error
    if isinstance(error, MemoryError) or "memory" in str(error).lower():
        return TOO_LARGE
    return str(error) if isinstance(error, DataError) else f"{type(error).__name__}: {error}"


def nothing_usable(files: Sequence[str], first: Exception) -> MediaError:
    """The error of a run in which every input was left out.

    Args:
        files: the inputs.
        first: with which the first was left out.

    Raises:
        PoseError: see :func:`reason_to_leave_out`.
    """
    reason = reason_to_leave_out(first)
    if len(files) == 1:
        return MediaError(f"{files[0]} cannot be used as an image ({reason}); check --input")
    return MediaError(
        f"none of the {len(files)} inputs can be used as an image (first: {files[0]}: {reason}); check --input"
    )


def is_expected(error: Exception) -> bool:
    """Whether an error is a property of the image: it is damaged or too large; others are faults to be looked into.

    Args:
        error: with which it is left out.
    """
    return isinstance(error, DataError) or reason_to_leave_out(error) == TOO_LARGE
