"""Reads Jittor's progress lines during the first compilation, and shows them on stderr."""

from __future__ import annotations

import re
import time
from typing import NamedTuple, TextIO

_PROGRESS = re.compile(r"Compiling (\S+?)\((\d+)/(\d+)\) used: *([\d.]+)s eta: *([\d.]+)s")


class Progress(NamedTuple):
    """One progress line of Jittor: `done` of `total` files of `what`, and the seconds that are probably left."""

    what: str
    done: int
    total: int
    left: float


def parse_progress(line: str) -> Progress | None:
    match = _PROGRESS.search(line)
    if match is None:
        return None
    what, done, total, _used, left = match.groups()
    short = re.sub(r"^gen_ops_|_*hash\w*$", "", what)
    return Progress(short if len(short) <= 24 else short[:23] + "…", int(done), int(total), float(left))


class Display:
    """Shows the progress: one line that rewrites itself on a terminal, otherwise a line for each tenth."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._terminal = out.isatty()
        self._start = time.monotonic()
        self._said = False
        self._tenth: tuple[str, int] | None = None

    def tick(self) -> None:
        # With a warm cache all is done within this time, and then no line is needed.
        if not self._said and time.monotonic() - self._start > 4:
            self.say("Jittor: first compilation, takes a minute or two, once")

    def progress(self, at: Progress) -> None:
        tenth = (at.what, at.done * 10 // at.total)
        if self._terminal or tenth != self._tenth:
            self._tenth = tenth
            self.say(f"Jittor: first compilation, {at.what} {at.done}/{at.total}, about {at.left:.0f} s left")

    def say(self, line: str) -> None:
        self._said = True
        self._out.write(f"\r{line}\x1b[K" if self._terminal else f"{line}\n")
        self._out.flush()

    def clear(self) -> None:
        if self._said and self._terminal:
            self._out.write("\r\x1b[K")
            self._out.flush()

    def end(self, cache: str) -> None:
        if self._said:
            self.say(f"Jittor: compiled in {time.monotonic() - self._start:.0f} s, kept in {cache}")
            if self._terminal:
                self._out.write("\n")
                self._out.flush()
