"""The streams that the command writes to, whatever their encoding, and also if they are closed or their disk is full.

A character that the encoding lacks is written as an escape. What cannot be written is lost, and the work goes on: at
its end the command says so in one line. Only if the reader of a pipe has left does the command end at once.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


class Stream(io.TextIOWrapper):
    """A text stream over the buffer of another one.

    Attributes:
        failure: the first error of the operating system; None where all could be written.
    """

    failure: OSError | None = None

    def write(self, text: str, /) -> int:
        try:
            return super().write(text) if self.failure is None else len(text)
        except BrokenPipeError as error:
            self.failure = error
            raise
        except OSError as error:
            self.failure = error
            return len(text)

    def flush(self) -> None:
        try:
            if self.failure is None:
                super().flush()
        except BrokenPipeError as error:
            self.failure = error
            raise
        except OSError as error:
            self.failure = error

    def leave(self) -> None:
        """Give the buffer back. If it holds what cannot be written, Python must not try that again at its exit."""
        with suppress(BrokenPipeError):
            self.flush()
        if self.failure is not None:
            with suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self.fileno())
                os.close(nowhere)
        with suppress(OSError):
            self.detach()


@contextmanager
def streams() -> Iterator[None]:
    """Within this block, stdout and stderr are a `Stream` each, except where a program replaced them by its own."""
    _open_closed()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_stream, before)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, Stream):
                stream.leave()
        sys.stdout, sys.stderr = before


def failure_of(stream: Any) -> OSError | None:
    """Return why something could not be written to a stream, or None."""
    with suppress(BrokenPipeError):
        stream.flush()
    return stream.failure if isinstance(stream, Stream) else None


def _stream(stream: Any) -> Any:
    if not isinstance(stream, io.TextIOWrapper) or isinstance(stream, Stream):
        return stream
    stream.flush()
    return Stream(
        stream.buffer,
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _open_closed() -> None:
    """Open the null device in place of a standard stream that is closed.

    Otherwise the next file to be opened, such as the metrics of a run, would get its number, and with it what libraries
    write to the standard streams.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)
