"""The folder of a sweep, and what has become of its runs.

FOLDER/sweep.yaml       the configuration with the section sweep; `boat sweep` accepts it again
FOLDER/results.jsonl    one line whenever a run ends; the last line of a run counts
FOLDER/table.md         mean ± standard error over the seeds, the best setting first
FOLDER/runs/NAME        the folder of a run, as `boat run` leaves it
FOLDER/runs/NAME.log    what the run printed
FOLDER/sweep.lock       locked by the process that carries the sweep out
"""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from .._util.atomic import json_text, write_text
from ..errors import RunError
from ..runs import checkpoint
from ..runs.ending import SUMMARY
from ..runs.folder import lock_folder
from ..runs.lines import append_line, drop_cut_off, read_lines
from ..runs.storage import storing
from .place import FINISHED, RunOutcome
from .plan import Plan, PlannedRun
from .results import SweepResults, SweptRun, metrics_of, results_of
from .table import as_markdown

CONFIG_NAME, RESULTS, TABLE, LOCK = "sweep.yaml", "results.jsonl", "table.md", "sweep.lock"


class SweepFolder:
    """The folder of a sweep that is locked by this process.

    Args:
        path: its absolute path.
        plan: the runs of the sweep.
    """

    def __init__(self, path: Path, plan: Plan) -> None:
        self.path = path
        self._plan = plan
        self._ended: dict[str, SweptRun] = {}
        planned = {run.name: run for run in plan.runs}
        with storing(path / RESULTS):
            drop_cut_off(path / RESULTS, "run")
        for row in read_lines(path / RESULTS, "run"):
            if row["run"] in planned:
                self._ended[row["run"]] = self._read(planned[row["run"]], row)

    def write_config(self) -> None:
        """Write `sweep.yaml`."""
        with storing(self.path / CONFIG_NAME):
            write_text(self.path / CONFIG_NAME, self._plan.text)

    def folder_of(self, run: PlannedRun) -> Path:
        """Return the folder of a run."""
        return self.path / "runs" / run.name

    def is_finished(self, run: PlannedRun) -> bool:
        """Whether a run has finished. One that did while nobody was there to record it is recorded now."""
        if run.name in self._ended and self._ended[run.name].status == FINISHED:
            return True
        summary = _summary_of(self.folder_of(run))
        if summary.get("status") != FINISHED or summary.get("steps") != run.steps:
            return False
        self.record(run, RunOutcome(FINISHED, summary))
        return True

    def can_resume(self, run: PlannedRun) -> bool:
        """Whether a run has a checkpoint. What an earlier process left of a run without one is removed."""
        folder = self.folder_of(run)
        if not folder.exists():
            return False
        if checkpoint.newest_first(folder):
            return True
        with storing(folder):
            shutil.rmtree(folder)
        return False

    def wait_for(self, run: PlannedRun, say: Callable[[str], None], seconds: float = 60.0) -> None:
        """Wait until no process writes the folder of a run: one that outlived its sweep is about to stop.

        Raises:
            RunError: it still runs after that many seconds; the error names the process.
        """
        folder, end, is_said = self.folder_of(run), time.monotonic() + seconds, False
        while folder.exists():
            try:
                with lock_folder(folder):
                    return
            except RunError as error:
                if time.monotonic() > end:
                    raise
                if not is_said:
                    say(f"waiting: {error}")
                    is_said = True
                time.sleep(0.1)

    def record(self, run: PlannedRun, outcome: RunOutcome) -> SweptRun:
        """Append the outcome of a run to the results, and write the table anew.

        Raises:
            StorageError: a file cannot be written.
        """
        metrics = metrics_of(outcome.summary or {}) if outcome.status == FINISHED else {}
        row = {
            "run": run.name,
            "settings": dict(run.settings),
            "seed": run.seed,
            "status": outcome.status,
            "metrics": metrics,
            "error": outcome.error,
        }
        append_line(self.path / RESULTS, json_text(row))
        self._ended[run.name] = ended = self._read(run, json.loads(json_text(row)))
        self.write_table()
        return ended

    def write_table(self) -> None:
        """Write the table of what has ended."""
        with storing(self.path / TABLE):
            write_text(self.path / TABLE, as_markdown(self.results()))

    def results(self) -> SweepResults:
        """Return the results so far."""
        section = self._plan.section
        settings = [run.settings for run in self._plan.runs]
        return results_of(self.path, section.metric, section.best, settings, list(self._ended.values()))

    def _read(self, run: PlannedRun, row: dict[str, Any]) -> SweptRun:
        metrics = {name: float(value) for name, value in row["metrics"].items()}
        status, error = row["status"], row["error"]
        return SweptRun(run.name, run.settings, run.seed, status, metrics, error, self.folder_of(run))


@contextlib.contextmanager
def new_sweep(plan: Plan) -> Iterator[SweepFolder]:
    """Create and lock the folder of a sweep. A generated name gets a number behind it if it is taken.

    Raises:
        RunError: the folder exists or cannot be made.
    """
    wanted = Path(plan.section.out or f"sweeps/{plan.stem}-{datetime.now():%Y%m%d-%H%M%S}").absolute()
    path = _create(wanted, may_rename=plan.section.out is None)
    with lock_folder(path, LOCK):
        folder = SweepFolder(path, plan)
        folder.write_config()
        yield folder


@contextlib.contextmanager
def old_sweep(path: Path, plan: Plan) -> Iterator[SweepFolder]:
    """Lock the folder of a sweep that is to go on.

    Raises:
        RunError: another process carries it out, or it cannot be written.
        BoatError: its runs do not have the metric.
    """
    with lock_folder(path, LOCK):
        folder = SweepFolder(path.absolute(), plan)
        folder.results().require_metric()
        folder.write_config()
        yield folder


def _create(wanted: Path, may_rename: bool) -> Path:
    for number in itertools.count(1):
        path = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            if not may_rename:
                hint = f"choose another folder with --out FOLDER, or go on with boat sweep --resume {wanted}"
                raise RunError(f"{wanted} exists", hint=hint) from None
        except OSError as error:
            raise RunError(f"{wanted} cannot be made: {error.strerror}") from None
        else:
            return path
    raise AssertionError


def _summary_of(folder: Path) -> dict[str, Any]:
    try:
        summary = json.loads((folder / SUMMARY).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return summary if isinstance(summary, dict) else {}
