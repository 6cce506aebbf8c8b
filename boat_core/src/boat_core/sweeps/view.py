"""What a terminal shows of a sweep: a line for each run at work, and the total with the time that is left.

Where stderr is no terminal, there is a line whenever a run ends.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from .._util.text import count
from .place import FAILED, FINISHED
from .plan import Plan
from .results import SweepResults, SweptRun
from .schedule import Running
from .table import setting_text

#: Seconds between two drawings.
_DRAW = 0.5


class LiveView:
    """Shows a sweep on stderr.

    Args:
        stream: where to, instead.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live: Any = None
        self._drawn = self._begun = 0.0
        self._metric = ""
        self._total = Total({}, ())

    def begun(self, path: Path, plan: Plan, kept: Sequence[SweptRun], jobs: int) -> None:
        """Say what the sweep is."""
        self._begun, self._metric = time.monotonic(), plan.section.metric
        self._total = Total({run.name: run.steps for run in plan.runs}, [run.name for run in kept])
        before = f", {len(kept)} of them finished before" if kept else ""
        self.say(f"{count(len(plan.runs), 'run')}{before}, {jobs} at once, {path}")
        if self._stream.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(file=self._stream), auto_refresh=False, transient=True)
            self._live.start()

    def tick(self, running: Sequence[Running]) -> None:
        """Draw what runs, if the last drawing is old enough."""
        if self._live is not None and time.monotonic() - self._drawn >= _DRAW:
            self._drawn = time.monotonic()
            total = self._total.text(running, self._drawn - self._begun)
            self._live.update(_picture(running, total), refresh=True)

    def ended(self, run: SweptRun, running: Running) -> None:
        """Say how a run has ended."""
        said = f"{run.status} after {time.monotonic() - running.begun:.1f} s"
        if run.status == FINISHED and self._metric in run.metrics:
            said += f", {self._metric} {run.metrics[self._metric]:.4g}"
        elif run.status == FINISHED and not self._total.finished:
            self.say(f"there is no metric {self._metric!r} to order the results by: {', '.join(run.metrics)}")
        self._total.end(run.status, running)
        done = f"{self._total.ended}/{self._total.runs}"
        self.say("  ".join([done, run.name, _described(run.settings, run.seed), said]))
        if run.error:
            self.say(f"    {run.error}")

    def say(self, line: str) -> None:
        """Show a line above what runs."""
        if self._live is not None:
            self._live.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=self._stream, flush=True)

    def closed(self, results: SweepResults) -> None:
        """Take away what was drawn."""
        if self._live is not None:
            self._live.update("", refresh=True)
            self._live.stop()
            self._live = None


class Total:
    """Counts the runs that have ended, and estimates the time that is left from the outer steps done so far.

    Args:
        steps: the outer steps of each run, by its name.
        kept: the names of the runs that had finished before.
    """

    def __init__(self, steps: Mapping[str, int], kept: Sequence[str]) -> None:
        self.runs, self.ended, self.finished, self.failed = len(steps), len(kept), len(kept), 0
        self._left = sum(count for name, count in steps.items() if name not in kept)
        self._done = 0

    def end(self, status: str, running: Running) -> None:
        """Count a run that has ended."""
        self.ended += 1
        self.finished += status == FINISHED
        self.failed += status == FAILED
        self._left -= running.run.steps
        self._done += running.position.steps - running.start

    def seconds_left(self, running: Sequence[Running], elapsed: float) -> float | None:
        """Return the time that is left if all steps take as long as those so far; None before the first step."""
        done = self._done + sum(one.position.steps - one.start for one in running)
        left = self._left - sum(one.position.steps for one in running)
        return left * elapsed / done if done > 0 else None

    def text(self, running: Sequence[Running], elapsed: float) -> str:
        """Return the total as one line, `elapsed` seconds after the beginning."""
        seconds = self.seconds_left(running, elapsed)
        failed = f", {self.failed} failed" if self.failed else ""
        left = "" if seconds is None else f", {_duration(seconds)} left"
        return f"{self.ended} of {count(self.runs, 'run')}{failed}{left}"


def _picture(running: Sequence[Running], total: str) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for one in running:
        cells = one.run.name, _described(one.run.settings, one.run.seed), *_progress(one)
        table.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in cells))
    return Group(table, Text(total))


def _progress(running: Running) -> tuple[str, str, str]:
    """Return steps, losses and rate of a run at work."""
    position, steps = running.position, running.run.steps
    if position.upper_loss is None:
        return f"0/{steps}", "starting", ""
    seconds = time.monotonic() - running.begun
    losses = f"upper {position.upper_loss:.4g}  lower {position.lower_loss:.4g}"
    return f"{position.steps}/{steps}", losses, f"{(position.steps - running.start) / seconds:.3g} steps/s"


def _described(settings: Mapping[str, Any], seed: int) -> str:
    """Return a setting in a few words: the last part of each key, and the value."""
    parts = [f"{key.rpartition('.')[2]}={setting_text(settings, key)}" for key in settings]
    return ", ".join([*parts, f"seed={seed}"])


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
