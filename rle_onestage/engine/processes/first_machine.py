"""The first machine of a training, as the others look for it: by name, at its port, as a store.

Each step has an end and can be interrupted; torch's own client waits in C++, where no signal is handled, and without an
end where something else listens.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import urlparse

import torch.distributed as dist

from rle_onestage.errors import ConfigError, shown
from rle_onestage.utils.pretrained import first_line

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

# Names of machines that have just been started come late, and whoever starts them begins with any.
NAME_SECONDS = 30.0
PORT_SECONDS = 600.0
ANSWER_SECONDS = 30.0
_POLL_SECONDS = 0.5


def parse_address(dist_url: str) -> tuple[str, int]:
    """Host and port of ``tcp://host:port``.

    Raises:
        ConfigError: it is something else.
    """
    try:
        parts = urlparse(dist_url)
        host, port = parts.hostname, parts.port
    except ValueError:  # an unfinished IPv6 address, a port that is none
        parts, host, port = None, None, None
    if parts is None or parts.scheme != "tcp" or not host or not port:
        raise ConfigError(
            f"--dist-url is {shown(dist_url, 120)}; give tcp://host:port with a port from 1 to 65535, or auto on a "
            "single machine"
        )
    return host, port


def wait_for_store(host: str, port: int) -> None:
    """Return when the store of the first machine answers.

    Raises:
        ConfigError: the host has no such name, nobody answers in time, or something else does.
    """
    _until(lambda: _interruptible(socket.getaddrinfo, host, port), NAME_SECONDS, f"finds no machine {shown(host)}")
    _until(lambda: _knock(host, port), PORT_SECONDS, f"finds nobody at {host}:{port}")
    try:
        _interruptible(_ask, host, port)
    except (TimeoutError, RuntimeError) as error:
        raise ConfigError(
            f"--dist-url: {host}:{port} answers, but not as the first machine of a training; check host and port"
        ) from error


def _until(attempt: Callable[[], object], seconds: float, problem: str) -> None:
    """Try again until it works."""
    deadline, said = time.monotonic() + seconds, False
    while True:
        try:
            attempt()
            return
        except (OSError, UnicodeError) as error:  # UnicodeError: of names that can be none
            if time.monotonic() >= deadline or isinstance(error, UnicodeError):
                raise ConfigError(
                    f"--dist-url {problem} ({_reason(error)}); check it, and that the first machine has been started"
                ) from error
            if not said:
                said = True
                logger.warning("--dist-url %s yet (%s); trying for %.0f s", problem, _reason(error), seconds)
        time.sleep(_POLL_SECONDS)


def _reason(error: OSError | UnicodeError) -> str:
    return "it cannot be a name" if isinstance(error, UnicodeError) else error.strerror or first_line(error)


def _knock(host: str, port: int) -> None:
    socket.create_connection((host, port), timeout=5.0).close()


def _ask(host: str, port: int) -> None:
    dist.TCPStore(host, port, is_master=False, wait_for_workers=False, timeout=timedelta(seconds=ANSWER_SECONDS))


def _interruptible(function: Callable[..., Result], *args: Any) -> Result:
    """Call what may wait in C, where the main thread handles no signal.

    Raises:
        TimeoutError: it did not return; it is left behind.
    """
    found: list[Result] = []
    errors: list[Exception] = []

    def call() -> None:
        try:
            found.append(function(*args))
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=call, daemon=True, name="first-machine")
    thread.start()
    deadline = time.monotonic() + ANSWER_SECONDS
    while thread.is_alive():
        if time.monotonic() >= deadline:
            raise TimeoutError(f"no answer within {ANSWER_SECONDS:.0f} s")
        thread.join(_POLL_SECONDS)
    if errors:
        raise errors[0]
    return found[0]
