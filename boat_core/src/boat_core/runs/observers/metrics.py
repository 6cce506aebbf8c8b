"""`metrics.jsonl`: one line of JSON for every outer step, complete as soon as the step is."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import IO, Any

from ..._util.atomic import json_text, write_text
from ...plugins.hookspecs import hookimpl

NAME = "metrics.jsonl"


class Metrics:
    """Appends iteration, losses, seconds since the step before, and the report of each step."""

    def __init__(self) -> None:
        self._file: IO[str] | None = None
        self._last = 0.0

    @hookimpl
    def boat_run_started(self, run: Any) -> None:
        self._file = (run.folder / NAME).open("a", encoding="utf-8")
        self._last = time.perf_counter()

    @hookimpl
    def boat_step_finished(self, run: Any, step: Any) -> None:
        assert self._file is not None
        now = time.perf_counter()
        line = {
            "iteration": step.iteration,
            "upper_loss": step.upper_loss,
            "lower_loss": step.lower_loss,
            "seconds": round(now - self._last, 6),
            "report": step.report.as_dict(),
        }
        self._last = now
        self._file.write(json_text(line) + "\n")
        self._file.flush()

    @hookimpl
    def boat_run_finished(self, run: Any, summary: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.close()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the complete lines of a file of JSON lines; none where there is no such file."""
    lines = path.read_text("utf-8").split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def keep_before(path: Path, iteration: int) -> None:
    """Drop the lines of `iteration` and later, and one that was cut off."""
    kept = [line for line in read_lines(path) if line["iteration"] < iteration]
    write_text(path, "".join(json_text(line) + "\n" for line in kept))
