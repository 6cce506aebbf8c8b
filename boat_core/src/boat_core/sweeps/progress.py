"""How far a run has come, from the last line of its metrics."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from ..runs.artifacts import METRICS

#: The bytes at the end of the file in which the last line is looked for first.
_TAIL = 4096


@dataclass(frozen=True)
class Position:
    """The outer steps that a run has done, and its latest losses."""

    steps: int = 0
    upper_loss: float | None = None
    lower_loss: float | None = None


def position_of(folder: Path) -> Position:
    """Return how far the run in `folder` has come; the beginning if nothing can be read there."""
    try:
        line = _last_line(folder / METRICS)
        values = json.loads(line)
        return Position(values["iteration"] + 1, float(values["upper_loss"]), float(values["lower_loss"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Position()


def _last_line(path: Path) -> bytes:
    """Return the last complete line of a file. A line may be long, since it holds the reports of the operations."""
    with path.open("rb") as file:
        size, tail = os.fstat(file.fileno()).st_size, _TAIL
        while True:
            file.seek(max(0, size - tail))
            *complete, _ = file.read(tail).split(b"\n")
            if len(complete) > 1 or (complete and tail >= size):
                return complete[-1]
            if tail >= size:
                return b""
            tail *= 8
