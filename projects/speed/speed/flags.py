"""Values of flags that several commands read."""

from rle_onestage.errors import ConfigError
from rle_onestage.utils.arguments import MOST


def whole_numbers(text: str, flag: str) -> list[int]:
    """The numbers of a list such as ``1,10,100``.

    Args:
        text: as given.
        flag: its name, for the message.

    Raises:
        ConfigError: a part is no whole number, below 1 or too large.
    """
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"{flag} {text!r} is not a list of whole numbers such as 1,10,100") from error
    if min(numbers) < 1:
        raise ConfigError(f"{flag} {text!r} has a number below 1")
    if max(numbers) >= MOST:
        raise ConfigError(f"{flag} {text!r} has a number that is too large")
    return numbers
