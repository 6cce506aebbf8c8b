"""`metrics.jsonl`: one line of JSON for every outer step, complete as soon as the step is."""

from __future__ import annotations

import time
from typing import Any

from ..._util.atomic import json_text
from ...errors import RunError
from ...plugins.hookspecs import hookimpl
from ..artifacts import METRICS
from ..lines import LineFile


class Metrics:
    """Appends iteration, losses, seconds since the previous step, and the report of each step.

    A run must not go on without its record. Since an observer that raises is only switched off, this one keeps its
    error for `check`.
    """

    def __init__(self) -> None:
        #: How many outer steps the solver had done at the latest line.
        self.recorded: int | None = None
        #: The latest line. A checkpoint holds it too, in case it never reached the file.
        self.last_line = ""
        self._error: RunError | None = None
        self._file: LineFile | None = None
        self._last = 0.0

    @hookimpl
    def boat_run_started(self, run: Any) -> None:
        self.recorded, self._last = run.solver.iteration, time.perf_counter()
        try:
            self._file = LineFile(run.folder / METRICS)
        except RunError as error:
            self._error = error

    @hookimpl
    def boat_step_finished(self, run: Any, step: Any) -> None:
        now = time.perf_counter()
        self.last_line = json_text(
            {
                "iteration": step.iteration,
                "upper_loss": step.upper_loss,
                "lower_loss": step.lower_loss,
                "seconds": round(now - self._last, 6),
                "report": step.report.as_dict(),
            }
        )
        self._last = now
        try:
            if self._file is not None:
                self._file.append(self.last_line)
        except RunError as error:
            self._error = error
        finally:
            self.recorded = step.iteration + 1

    @hookimpl
    def boat_run_finished(self, run: Any, summary: dict[str, Any]) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, also of a run whose observers are not told of its end."""
        if self._file is not None:
            self._file.close()

    def check(self) -> None:
        """Raise the error of a line that could not be written."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def sync(self) -> None:
        """Write to disk what was appended, so that no checkpoint is ahead of the record."""
        if self._file is not None:
            self._file.sync()
