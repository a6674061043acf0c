"""Work that may never end, such as the reading of a pipe that nobody writes to, with a limit on the wait for it."""

import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def within(seconds: float, work: Callable[[], Result], name: str = "bounded work") -> Result:
    """Do some work in a thread of its own and wait for a limited time.

    The time in which this process is stopped (Ctrl-Z, a debugger) does not count.

    Args:
        seconds: the limit.
        work: what to do; goes on in its thread where the limit is reached.
        name: of the thread.

    Returns:
        What the work gives.

    Raises:
        TimeoutError: the limit is reached.
        BaseException: whatever the work raises.
    """
    answer: list[Result] = []
    failure: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            answer.append(work())
        except BaseException as error:  # raised again below, where somebody can deal with it
            failure.append(error)
        done.set()

    threading.Thread(target=run, name=name, daemon=True).start()
    for _ in range(max(1, round(seconds))):
        if done.wait(min(1.0, seconds)):
            break
    else:
        raise TimeoutError(f"no answer for {seconds:g} s")
    if failure:
        raise failure[0]
    return answer[0]
