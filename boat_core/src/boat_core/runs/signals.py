"""Signals that stop a run: what is left to finish first, and how the process ends.

    SIGINT (Ctrl-C)     stops at once and ends in KeyboardInterrupt
    SIGTERM, SIGHUP     let the current outer step finish; the process exits with 143 or 129
    a second signal     stops at once, whichever it is

"At once" means inside `interruptible()` only: while batches are drawn, a step is computed, and code of others runs
(observers, `evaluate`, panels). Everything else, such as writing a checkpoint, is short and completes. A signal that
arrives while the folder is being completed skips the picture and the observers that have not been told yet.

A signal that arrives while Jittor compiles takes effect when the compiler is done, because Jittor does not return to
Python before. If the signal reached the compiler as well, as Ctrl-C and most schedulers do, then the step fails, and
the run counts as interrupted.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Stopped(SystemExit):
    """A signal other than Ctrl-C stopped the run. The exit code is 128 and its number, as shells have it."""

    def __init__(self, received: signal.Signals) -> None:
        super().__init__(128 + received)
        self.signal = received


class StopSignals:
    """Handles the signals above inside a `with` block.

    Only the main thread can do that. Signals that are ignored, and those for which the program has a handler of its
    own, are left alone.

    Args:
        is_recording: whether the state of the solver is ahead of the record of the run. No signal raises then,
            because a step would be missing in the record.
    """

    def __init__(self, is_recording: Callable[[], bool]) -> None:
        #: The first signal that arrived.
        self.received: signal.Signals | None = None
        self._is_recording = is_recording
        self._previous: dict[signal.Signals, Any] = {}
        self._process = os.getpid()
        self._is_open = self._is_urgent = self._is_ending = False

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
                previous = signal.getsignal(number)
                if previous in (signal.SIG_DFL, signal.default_int_handler):
                    self._previous[number] = previous
                    signal.signal(number, self._handle)
                    # Jittor takes an interrupted system call for a failure, so the first signal must not interrupt
                    # one if the step is to finish.
                    signal.siginterrupt(number, number == signal.SIGINT)
            _active.append(self)
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if self in _active:
            _active.remove(self)
        self.restore()
        if error is None:  # a signal is never lost, even one that arrived when all was done
            self.check()

    def restore(self) -> None:
        """Put the previous handlers back."""
        for number, previous in self._previous.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, previous)
        self._previous = {}

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let an urgent signal raise inside the block, also one that arrived before it."""
        self._is_open = True
        try:
            self._raise_if_urgent()
            yield
        finally:
            self._is_open = False

    def as_exception(self) -> BaseException | None:
        """Return what the first signal demands to be raised, if one has arrived."""
        if self.received is None:
            return None
        return KeyboardInterrupt() if self.received == signal.SIGINT else Stopped(self.received)

    def check(self) -> None:
        """Raise if a signal has arrived.

        Raises:
            KeyboardInterrupt, Stopped: as the first signal demands.
        """
        if (stop := self.as_exception()) is not None:
            raise stop

    def begin_ending(self) -> None:
        """Forget what was urgent: from now on the folder is completed, and only further signals cut that short."""
        self._is_ending, self._is_urgent = True, False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a process that was forked just now
            self.restore()
            signal.raise_signal(number)
            return
        is_first = self.received is None
        if is_first:
            self.received = signal.Signals(number)
            for other in self._previous:
                signal.siginterrupt(other, True)
        if number == signal.SIGINT or not is_first or self._is_ending:
            self._is_urgent = True
        self._raise_if_urgent()

    def _raise_if_urgent(self) -> None:
        if self._is_urgent and self._is_open and not self._is_recording():
            # Until the next block is entered nothing raises again: an impatient second Ctrl-C must not hit the code
            # that handles the first one.
            self._is_open = False
            self.check()


_active: list[StopSignals] = []


def _forget_in_child() -> None:
    """Give a forked process its usual handlers: the pools of multiprocessing end their workers by SIGTERM."""
    for signals in reversed(_active):
        with contextlib.suppress(ValueError):
            signals.restore()
    _active.clear()


os.register_at_fork(after_in_child=_forget_in_child)
