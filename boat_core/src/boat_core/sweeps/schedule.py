"""The order in which the runs of a sweep start, and what happens when one ends or a signal arrives."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..runs.signals import Stopped, StopSignals
from ..runs.storage import StorageError
from .folder import SweepFolder
from .kinds import CompiledKinds
from .place import INTERRUPTED, RunOutcome, SweepPlace
from .plan import Plan, PlannedRun
from .progress import Position, position_of
from .results import SweepResults, SweptRun

#: Seconds between two looks at what runs.
_LOOK = 0.2
#: The outer steps after which a run has compiled the kernels of its steps: the second may differ from the first one.
_STEPS_TO_COMPILE = 2


class View(Protocol):
    """What a user sees of a sweep. `boat sweep` has one for terminals and one for JSON."""

    def begun(self, path: Path, plan: Plan, kept: Sequence[SweptRun], jobs: int) -> None:
        """The sweep begins; these runs have finished before."""

    def tick(self, running: Sequence[Running]) -> None:
        """Called several times a second, with what runs."""

    def ended(self, run: SweptRun, running: Running) -> None:
        """A run has ended, which `running` was until now."""

    def say(self, line: str) -> None:
        """Show a line."""

    def closed(self, results: SweepResults) -> None:
        """The sweep is over, because all runs have ended or because it was stopped."""


@dataclass
class Running:
    """A run that has been submitted.

    Attributes:
        run: what was planned.
        folder: the folder of the run.
        begun: when it was submitted, by `time.monotonic`.
        start: the steps that it had done before.
        position: how far it has come.
    """

    run: PlannedRun
    folder: Path
    begun: float
    start: int
    position: Position


class Schedule:
    """Submits runs to a place as long as it has room, and records what comes back.

    If the runs share one cache of kernels, the first run of each kind goes ahead of the others of its kind until it has
    compiled what its steps need, here or in an earlier sweep. One run at a time is ahead in this way. The others would
    only wait for its compiler.

    Args:
        place: where the runs are carried out.
        folder: where results are recorded.
        plan: all runs of the sweep.
        view: what the user sees.
        signals: the signals that stop the sweep.
    """

    def __init__(self, place: SweepPlace, folder: SweepFolder, plan: Plan, view: View, signals: StopSignals) -> None:
        self._place, self._folder, self._plan, self._view, self._signals = place, folder, plan, view, signals
        self._waiting: list[PlannedRun] = []
        self._running: dict[Hashable, Running] = {}
        self._compiled = CompiledKinds()
        self._ahead: Running | None = None
        self._urgency = 0

    def carry_out(self) -> None:
        """Carry out all runs that have not finished.

        A signal ends it early: SIGTERM and SIGHUP let each run finish its step, SIGINT (Ctrl-C) does not. A further
        signal makes the runs hurry, and one more kills them.

        Raises:
            BoatError: the place cannot carry out runs, or a file of the sweep cannot be written.
        """
        self._waiting = [run for run in self._plan.runs if not self._folder.is_finished(run)]
        try:
            while (self._waiting and not self._urgency) or self._running:
                self._heed_signals()
                if not self._urgency:
                    self._submit()
                if self._running:
                    self._collect()
                self._view.tick(list(self._running.values()))
        finally:
            self._end()

    def _submit(self) -> None:
        while len(self._running) < self._place.jobs and (run := self._next()) is not None:
            with self._signals.interruptible():
                self._folder.wait_for(run, self._view.say)
            resume, path = self._folder.can_resume(run), self._folder.folder_of(run)
            position = position_of(path) if resume else Position()
            running = Running(run, path, time.monotonic(), position.steps, position)
            handle = self._place.submit(self._plan.spec(run, path, resume))
            self._waiting.remove(run)
            self._running[handle] = running
            if self._place.shares_kernels and run.kind not in self._compiled:
                self._ahead = running

    def _next(self) -> PlannedRun | None:
        """Return the run that starts next; None if all that wait need kernels that are being compiled."""
        if not self._place.shares_kernels:
            return next(iter(self._waiting), None)
        if self._ahead is None:
            for run in self._waiting:
                if run.kind not in self._compiled:
                    return run
        return next((run for run in self._waiting if run.kind in self._compiled), None)

    def _collect(self) -> None:
        """Wait a moment for runs to end, and record those that have."""
        for handle, outcome in self._place.wait(list(self._running), _LOOK).items():
            running = self._running.pop(handle)
            running.position = position_of(running.folder)
            self._note_what_is_compiled()
            if running is self._ahead:
                self._compiled.let_go(running.run.kind)
                self._ahead = None
            self._view.ended(self._folder.record(running.run, outcome), running)
        for running in self._running.values():
            running.position = position_of(running.folder)
        self._note_what_is_compiled()

    def _note_what_is_compiled(self) -> None:
        ahead = self._ahead
        if ahead is not None and ahead.position.steps >= min(ahead.start + _STEPS_TO_COMPILE, ahead.run.steps):
            self._compiled.add(ahead.run.kind)
            self._ahead = None

    def _heed_signals(self) -> None:
        try:
            with self._signals.interruptible():
                pass
        except (KeyboardInterrupt, Stopped):
            if self._signals.received is None:
                raise
            self._stop(max(2, self._urgency + 1))
        else:
            if self._signals.received is not None and not self._urgency:
                self._stop(1)

    def _stop(self, urgency: int) -> None:
        """Stop all runs: 1 after their steps, 2 within them, 3 at once and without a checkpoint."""
        self._signals.begin_ending()
        self._urgency = urgency
        if urgency > 2:
            self._kill()
            return
        for handle in self._running:
            self._place.stop(handle)
            if urgency == 2:
                self._place.stop(handle)
        again = "inside their steps" if urgency == 1 else "at once; what they did since their last checkpoint is lost"
        self._view.say(f"stopping {len(self._running)} runs; a further signal stops them {again}")

    def _kill(self) -> None:
        self._place.close()
        for running in self._running.values():
            self._view.ended(self._folder.record(running.run, RunOutcome(INTERRUPTED)), running)
        self._running.clear()

    def _end(self) -> None:
        """Leave nothing behind, also after an error."""
        for handle in self._running:
            self._place.stop(handle)
        end = time.monotonic() + 10
        while self._running and time.monotonic() < end:
            for handle, outcome in self._place.wait(list(self._running), _LOOK).items():
                with contextlib.suppress(StorageError):  # an error of the disk may be why the sweep ends
                    self._folder.record(self._running.pop(handle).run, outcome)
        self._place.close()
