"""Places of a sweep: where its runs are carried out.

The sweep decides which run comes next. A place carries runs out, several at once, and says how each ended. `processes`
is the place on this machine. Packs provide others by the hook `boat_sweep_places`.
"""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from .._util.atomic import write_text
from ..config.schema import read_config
from ..errors import BoatError
from ..plugins.hookspecs import hookimpl
from ..runs.run import run
from ..runs.signals import Stopped

FINISHED, FAILED, INTERRUPTED = "finished", "failed", "interrupted"


@dataclass(frozen=True)
class RunSpec:
    """One run of a sweep as plain values, which can be pickled or written as JSON.

    Args:
        name: the name of the run, unique in its sweep.
        config: the text of the configuration that all runs of the sweep share, in YAML.
        overrides: what this run has instead, as `--set` takes it: "solver.lower_steps=5".
        folder: the absolute path of the run's folder.
        resume: whether the run goes on from the newest checkpoint in its folder. Otherwise the folder is new.
    """

    name: str
    config: str
    overrides: tuple[str, ...]
    folder: str
    resume: bool = False

    def carry_out(self, observers: Sequence[Any] = ()) -> RunOutcome:
        """Carry the run out in this process, and return how it ended.

        An error of the run is part of the outcome, and its traceback goes to stderr. So is a signal that stops the run
        (SIGINT, SIGTERM or SIGHUP, or the KeyboardInterrupt that it raises): the run saves its state and can be
        resumed.

        Args:
            observers: objects that watch the run, as for `boat_core.run`.
        """
        last = _LastSummary()
        try:
            with tempfile.TemporaryDirectory(prefix="boat-") as folder:
                path = Path(folder) / "sweep.yaml"
                write_text(path, self.config)
                config = read_config(path, [*self.overrides, f"run.out={self.folder}"])
            summary = run(config, observers=[last, *observers], resume=self.folder if self.resume else None)
        except (KeyboardInterrupt, Stopped):
            return RunOutcome(INTERRUPTED, last.summary)
        except BoatError as error:
            return RunOutcome(FAILED, last.summary, str(error))
        except Exception as error:
            traceback.print_exc()
            return RunOutcome(FAILED, last.summary, f"{type(error).__name__}: {error}")
        return RunOutcome(FINISHED, summary)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as values of JSON, which `RunSpec.of` reads."""
        return asdict(self)

    @classmethod
    def of(cls, values: dict[str, Any]) -> RunSpec:
        """Return the run that `as_dict` described."""
        return cls(**{**values, "overrides": tuple(values["overrides"])})


@dataclass(frozen=True)
class RunOutcome:
    """How a run of a sweep ended.

    Args:
        status: `finished`, `failed`, or `interrupted`: the run was stopped and can be resumed.
        summary: the summary of the run (`summary.json`), or None if it has not come so far.
        error: what went wrong, in one line.
    """

    status: str
    summary: dict[str, Any] | None = None
    error: str | None = None


class SweepPlace(Protocol):
    """Carries out the runs of a sweep. Packs provide places by the hook `boat_sweep_places`.

    The sweep calls all methods from one thread.
    """

    #: How many runs the place carries out at once. The sweep submits no more than that before one has ended.
    jobs: int
    #: Whether all runs share one cache of compiled kernels. The sweep then lets one run of each kind compile its
    #: kernels before it starts others of that kind, so that processes do not wait for each other's compiler.
    shares_kernels: bool

    def submit(self, spec: RunSpec) -> Hashable:
        """Start a run and return a handle for it, without waiting. `RunSpec.carry_out` is what has to run.

        Raises:
            BoatError: the place cannot carry out runs. The sweep then stops. What fails in the run itself belongs in
                its outcome.
        """

    def wait(self, handles: Iterable[Hashable], timeout: float) -> dict[Hashable, RunOutcome]:
        """Wait until one of these runs has ended, or the time is over.

        Args:
            handles: the runs that have not ended, as far as the sweep knows.
            timeout: seconds. 0 looks once.

        Returns:
            The outcomes of the runs that have ended. It may be empty.
        """

    def stop(self, handle: Hashable) -> None:
        """Ask a run to stop so that it can be resumed, without waiting. A second call asks it to hurry.

        The outcome of the run comes from `wait`. A run that has ended already is left alone.
        """

    def close(self) -> None:
        """End all runs that are left, at once, and give back what the place holds. A second call changes nothing."""


class _LastSummary:
    """Keeps the summary with which a run ends, also if the run raises an error afterwards."""

    def __init__(self) -> None:
        self.summary: dict[str, Any] | None = None

    @hookimpl
    def boat_run_finished(self, run: Any, summary: dict[str, Any]) -> None:
        self.summary = summary
