"""Progress on stderr: a bar on a terminal, else a line every tenth of the run and whenever kernels were compiled."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from ...plugins.hookspecs import hookimpl


class Progress:
    """Shows step, losses and rate.

    The first step compiles its kernels inside one native call, which stops every Python thread; a bar would stand still
    and Jittor's own progress line would run through it. So the bar starts after that step.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._bar: Any = None
        self._compiled = 0
        self._seconds = 0.0
        self._begun = time.perf_counter()
        self._first: int | None = None

    @hookimpl
    def boat_run_started(self, run: Any) -> None:
        self._say(f"{run.problem.name}: {run.solver.composition}, {run.steps} steps, {run.folder}")
        self._say("first step, compiling what is not compiled yet …")

    @hookimpl
    def boat_step_finished(self, run: Any, step: Any) -> None:
        done, losses = step.iteration + 1, f"upper {step.upper_loss:.6g}  lower {step.lower_loss:.6g}"
        compiled = self._compiled_since(run.kernels)
        if self._first is None:
            self._first, self._begun = done, time.perf_counter()
            if self._stream.isatty():
                self._start_bar(run.steps)
        if self._bar:
            self._bar.update(0, completed=done, losses=losses, rate=self._rate(done))
            if compiled:
                self._bar.console.print(compiled, markup=False, highlight=False)
        elif compiled or done == run.steps or done * 10 // run.steps > (done - 1) * 10 // run.steps:
            self._say("  ".join(filter(None, (f"{done}/{run.steps}", losses, self._rate(done), compiled))))

    @hookimpl
    def boat_run_finished(self, run: Any, summary: dict[str, Any]) -> None:
        if self._bar:
            self._bar.stop()

    def _start_bar(self, steps: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[losses]}  {task.fields[rate]}"))
        self._bar = Bar(*columns, TimeRemainingColumn(), console=Console(file=self._stream), transient=False)
        self._bar.add_task("", total=steps, losses="", rate="")
        self._bar.start()

    def _compiled_since(self, kernels: Any) -> str:
        """Say which kernels Jittor compiled since the last step, the first few by name."""
        count, seconds = kernels.count - self._compiled, kernels.seconds - self._seconds
        if not count:
            return ""
        names = kernels.names[self._compiled :]
        self._compiled, self._seconds = kernels.count, kernels.seconds
        listed = ", ".join(name if len(name) <= 40 else f"{name[:39]}…" for name in names[:3])
        more, plural = ", …" if count > 3 else "", "" if count == 1 else "s"
        return f"compiled {count} kernel{plural} ({listed}{more}) in {seconds:.1f} s"

    def _rate(self, done: int) -> str:
        seconds = time.perf_counter() - self._begun
        assert self._first is not None
        return f"{(done - self._first) / seconds:.3g} steps/s" if done > self._first and seconds > 0 else ""

    def _say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


def build(options: Any) -> Progress:
    return Progress()
