"""The end of a run: the last checkpoint, the summary, the variables and the picture, whatever ended it."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._util.atomic import plain, write_json
from . import checkpoint
from .artifacts import warn, write_picture, write_variables
from .current import Run
from .resume import position
from .signals import Stopped, StopSignals
from .storage import StorageError, storing

SUMMARY = "summary.json"


@dataclass(frozen=True)
class Clock:
    """When the run began, and when its solver was built."""

    begun: float
    first_use: float


def save_checkpoint(job: Run, signals: StopSignals) -> None:
    """Write a checkpoint of where the run is, unless there is one, and tell the observers.

    Raises:
        StorageError: it cannot be written; the ones before it are as they were.
    """
    if (path := _store_checkpoint(job)) is not None:
        with signals.interruptible():
            job.events.notify("boat_checkpoint_written", run=job, path=path)


def _store_checkpoint(job: Run) -> Path | None:
    done = job.solver.iteration
    if job.saved == done:
        return None
    path = checkpoint.path_of(job.folder, done)
    with storing(path):
        job.metrics.sync()
        checkpoint.save(path, position(job))
        job.saved = done
        # Only now that the new one is on disk may the oldest go.
        checkpoint.prune(path, job.config.run.keep_checkpoints)
    return path


def complete_folder(
    job: Run, signals: StopSignals, facts: dict[str, Any], clock: Clock, failure: BaseException | None
) -> tuple[dict[str, Any], BaseException | None]:
    """Write all that a folder holds at its end, and tell the observers.

    A piece that cannot be written is named in the summary under `not_written`, and the others are written all the same.

    Args:
        failure: what ended the run early.

    Returns:
        The summary, and `failure`, or in its place the error of a summary that cannot be written.
    """
    ending = _Ending(job, signals, failure)
    ending.save()
    ending.summary = _summary(job, facts, clock) | ending.summary
    ending.write_summary()
    ending.write("variables.npz", lambda path: write_variables(path, job.solver.upper, job.solver.lower))
    ending.write("picture.png", ending.draw)
    ending.tell_end()
    return ending.summary, ending.failure


class _Ending:
    """The summary as it grows, and what went wrong on the way."""

    def __init__(self, job: Run, signals: StopSignals, failure: BaseException | None) -> None:
        self.summary: dict[str, Any] = {}
        self.failure = failure
        self._job, self._signals = job, signals

    def save(self) -> None:
        """Write the last checkpoint, unless the run has just done so."""
        path, before = checkpoint.path_of(self._job.folder, self._job.solver.iteration), self._job.saved
        self.write(str(path.relative_to(self._job.folder)), lambda _: _store_checkpoint(self._job))
        if self._job.saved != before:
            self._tell("boat_checkpoint_written", path=path)

    def write(self, name: str, write: Callable[[Path], object]) -> None:
        """Write one file. If that fails, say so in the summary and on stderr."""
        try:
            write(self._job.folder / name)
        except (KeyboardInterrupt, Stopped):  # a further signal, which ends this piece alone
            if self._signals.received is None:
                raise
            self._note(name, "interrupted")
        except Exception as error:
            self._note(name, f"{type(error).__name__}: {error}")
            if not isinstance(self.failure, StorageError):  # otherwise the reason is known, and the same
                warn(f"{name} could not be written: {type(error).__name__}: {error}")

    def draw(self, path: Path) -> None:
        """Draw the picture, which runs code of the problem's."""
        with self._signals.interruptible():
            write_picture(path, self._job.problem, self._job.solver.upper, self._job.solver.lower)

    def tell_end(self) -> None:
        """Give the observers a summary of their own, and put those that fail over it into ours."""
        self._tell("boat_run_finished", summary=copy.deepcopy(self.summary))
        if self._job.switched_off != self.summary.get("observers_switched_off", []):
            self.summary["observers_switched_off"] = self._job.switched_off
            self.write_summary()

    def _tell(self, hook: str, **values: Any) -> None:
        try:
            with self._signals.interruptible():
                self._job.events.notify(hook, run=self._job, **values)
        except (KeyboardInterrupt, Stopped):
            if self._signals.received is None:
                raise

    def write_summary(self) -> None:
        path = self._job.folder / SUMMARY
        try:
            with storing(path):
                write_json(path, self.summary)
        except StorageError as error:
            if self.failure is None:
                self.failure = error
            elif not isinstance(self.failure, StorageError):
                warn(str(error))

    def _note(self, name: str, reason: str) -> None:
        self.summary.setdefault("not_written", {})[name] = reason
        if len(self.summary) > 1:  # the summary is on disk already
            self.write_summary()


def _summary(job: Run, facts: dict[str, Any], clock: Clock) -> dict[str, Any]:
    job.kernels.poll()
    now, compiling = time.perf_counter(), job.kernels.seconds
    summary: dict[str, Any] = plain(
        {
            **facts,
            "steps": job.solver.iteration,
            **job.progress,
            "seconds_compiling": round(compiling, 3),
            "seconds_computing": round(max(0.0, now - clock.first_use - compiling), 3),
            "seconds_total": round(now - clock.begun, 3),
            "kernels_compiled": job.kernels.count,
            "resumed_from": job.resumed_from,
            "folder": str(job.folder),
            **({"observers_switched_off": job.switched_off} if job.switched_off else {}),
        }
    )
    return summary
