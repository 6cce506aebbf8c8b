"""A time limit for code of others that may never return, such as the import of a pack."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: Seconds between one interruption and the next, for code that catches everything; odd, to be known again.
_AGAIN = 1.015625


class TookTooLong(BaseException):
    """The time is up. Not an `Exception`, so that the code's own `except Exception` does not swallow it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TookTooLong` inside the block after that many seconds; 0 is no limit.

    It takes the process's alarm, so there is no limit outside of the main thread, or where an alarm is in use. Code
    that holds Python's lock for good, in C, cannot be interrupted.
    """
    if not (seconds and threading.current_thread() is threading.main_thread() and _alarm_is_free()):
        yield
        return

    def end(signum: int, frame: FrameType | None) -> None:
        raise TookTooLong

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
    try:
        yield
    finally:
        # Code that set an alarm or a handler of its own in the block keeps it.
        if signal.getitimer(signal.ITIMER_REAL)[1] == _AGAIN:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if signal.getsignal(signal.SIGALRM) is end:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _alarm_is_free() -> bool:
    if not hasattr(signal, "SIGALRM"):
        return False
    return signal.getsignal(signal.SIGALRM) is signal.SIG_DFL and signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
