"""The place `processes`: each run is a process of this machine, and the cores are divided among them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Hashable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from .._util.atomic import json_text
from ..declare.named import SweepPlaceDeclaration
from ..declare.options import option
from ..runtime.variables import user_value

if TYPE_CHECKING:
    from .place import RunOutcome, RunSpec

#: Seconds between two looks at the processes.
_LOOK = 0.02
_THREADS = "OMP_NUM_THREADS"


@dataclass(frozen=True)
class ProcessOptions:
    """Options of the place `processes`."""

    jobs: int | None = option(None, ge=1, doc="runs at once; without it one for each core, and one in all on CUDA")
    threads: int | None = option(
        None, ge=1, doc="threads of each run; without it OMP_NUM_THREADS where that is set, else the cores over `jobs`"
    )
    device: str = option("auto", choices=("auto", "cpu", "cuda"), doc="the device of the runs; the sweep sets it")


class Processes:
    """Starts one process for each run.

    The processes have a session of their own, so that Ctrl-C reaches the sweep alone, which then stops them. If the
    sweep is killed, they see the end of their stdin and stop by themselves.

    Args:
        jobs: how many run at once.
        threads: the threads of each; None leaves them to the environment.
    """

    shares_kernels = True

    def __init__(self, jobs: int, threads: int | None) -> None:
        self.jobs = jobs
        self._environment = dict(os.environ)
        if threads is not None:
            self._environment[_THREADS] = str(threads)
        self._running: dict[Hashable, _Process] = {}

    def submit(self, spec: RunSpec) -> Hashable:
        """Start the process of a run. Its messages go to `NAME.log` beside the run's folder."""
        process = _Process(spec, self._environment)
        self._running[spec.name] = process
        return spec.name

    def wait(self, handles: Iterable[Hashable], timeout: float) -> dict[Hashable, RunOutcome]:
        """Return the outcomes of the processes that have ended, as soon as there is one."""
        awaited, end = list(handles), time.monotonic() + timeout
        while True:
            ended = {handle: self._running[handle] for handle in awaited if self._running[handle].has_ended()}
            if ended or time.monotonic() >= end:
                return {handle: self._running.pop(handle).outcome() for handle in ended}
            time.sleep(_LOOK)

    def stop(self, handle: Hashable) -> None:
        """Send SIGTERM, after which a run finishes its step. A second call sends SIGINT, which it obeys within it."""
        if handle in self._running:
            self._running[handle].stop()

    def close(self) -> None:
        """Kill the processes that are left."""
        for process in self._running.values():
            process.kill()
        self._running.clear()


class _Process:
    """The process of one run."""

    def __init__(self, spec: RunSpec, environment: dict[str, str]) -> None:
        folder = Path(spec.folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._log = folder.with_name(f"{folder.name}.log")
        self._is_stopping = False
        # A file takes an outcome of any size, also while nobody reads.
        self._out: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115, closed with the process
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "boat_core.sweeps.child"],
                stdin=subprocess.PIPE,
                stdout=self._out,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # a process that has died already: its outcome says so
            self._process.stdin.write(f"{json_text(spec.as_dict())}\n".encode())
            self._process.stdin.flush()

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def stop(self) -> None:
        # Two signals of one kind would become one if they arrived together.
        self._process.send_signal(signal.SIGINT if self._is_stopping else signal.SIGTERM)
        self._is_stopping = True

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._close()

    def outcome(self) -> RunOutcome:
        """Return the outcome that the process has written, or one that says how it died."""
        from .place import FAILED, INTERRUPTED, RunOutcome

        self._out.seek(0)
        text = self._out.read()
        self._close()
        with suppress(ValueError, TypeError):
            return RunOutcome(**json.loads(text))
        if self._is_stopping:
            return RunOutcome(INTERRUPTED)
        return RunOutcome(FAILED, error=f"{_death(self._process.returncode)}; see {self._log}")

    def _close(self) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._out.close()


def _death(code: int) -> str:
    """Say how a process without an outcome ended."""
    if code >= 0:
        return f"the process exited with code {code}"
    with suppress(ValueError):
        name = signal.Signals(-code).name
        hint = ", as when memory runs out" if name == "SIGKILL" else ""
        return f"the process was killed by {name}{hint}"
    return f"the process was killed by signal {-code}"


def build(options: ProcessOptions) -> Processes:
    """Make the place, and compile Jittor's core if that has not been done, where its progress can be seen."""
    from ..runtime import prepare

    device = prepare(options.device).device
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    jobs = options.jobs or (1 if device == "cuda" else cores)
    threads = options.threads
    if threads is None and user_value(_THREADS) is None:
        threads = max(1, cores // jobs)
    return Processes(jobs, threads)


DECLARATION = SweepPlaceDeclaration(
    "processes", "processes of this machine, among which its cores are divided", build, ProcessOptions
)
