"""The place of sweeps: each run is a task of Ray, with Ray's queue, placement, resources and retries."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
import time
from collections.abc import Hashable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import ray

from boat_core import RunOutcome, RunSpec

from .cluster import Cluster
from .options import PlaceOptions
from .pool import reason_of

_untyped: Any = ray

#: Seconds between two questions of a run whether it is to stop.
_ASK_EVERY = 1.0


class RayPlace:
    """Carries out the runs of a sweep as tasks of Ray.

    The folders of the runs must be on a file system that all nodes share. A run whose worker dies is started again by
    Ray, on any node, and goes on from its newest checkpoint.

    Args:
        options: see `PlaceOptions`.
    """

    def __init__(self, options: PlaceOptions) -> None:
        if options.device == "cuda" and not options.gpus:
            options = replace(options, gpus=1.0)
        self._cluster = Cluster(options, options.jobs)
        self.jobs = options.jobs or self._cluster.places(options)
        self.shares_kernels = self._cluster.nodes == 1
        environment = {} if options.runtime_env is None else {"runtime_env": options.runtime_env}
        remote: Any = _untyped.remote(
            max_calls=1,  # a run leaves its process: the next one begins as it would on the command line
            max_retries=options.retries,
            scheduling_strategy="SPREAD",
            **options.resources(),
            **environment,
        )
        self._carry_out = remote(carry_out)
        board: Any = ray.remote(Board)
        self._board = board.options(num_cpus=0).remote()
        self._running: dict[Hashable, int] = {}
        self._submitted = 0

    def submit(self, spec: RunSpec) -> Hashable:
        """Give the run to Ray. Its messages go to `NAME.log` beside the run's folder."""
        is_new = not Path(spec.folder).exists()
        self._submitted += 1  # a run that goes on later has the same name, and is not to stop again
        ref: Hashable = self._carry_out.remote(spec.as_dict(), is_new, self._board, self._submitted)
        self._running[ref] = self._submitted
        return ref

    def wait(self, handles: Iterable[Hashable], timeout: float) -> dict[Hashable, RunOutcome]:
        """Return the outcomes of the runs that have ended, as soon as there is one."""
        awaited = list(handles)
        if not awaited:
            return {}
        ended, _ = ray.wait(awaited, num_returns=1, timeout=timeout)
        if not ended:
            self._cluster.require_head()
            return {}
        ended, _ = ray.wait(awaited, num_returns=len(awaited), timeout=0)
        return {ref: self._outcome(ref) for ref in ended}

    def _outcome(self, ref: Any) -> RunOutcome:
        number = self._running.pop(ref, 0)
        try:
            return RunOutcome(**ray.get(ref))
        except ray.exceptions.RayError as error:
            if ray.get(self._board.count.remote(number)):
                return RunOutcome("interrupted")
            return RunOutcome("failed", error=f"every worker that had the run died, the last one: {reason_of(error)}")

    def stop(self, handle: Hashable) -> None:
        """Have the run stopped by SIGTERM, after which it finishes its step; a second call stops it inside the step."""
        if handle in self._running:
            self._board.stop.remote(self._running[handle])

    def close(self) -> None:
        """End the runs that are left, and the connection to Ray."""
        for ref in self._running:
            with contextlib.suppress(Exception):
                ray.cancel(ref, force=True)
        self._running.clear()
        self._cluster.close()


class Board:
    """Holds how often each run was asked to stop."""

    def __init__(self) -> None:
        self._asked: dict[int, int] = {}

    def stop(self, number: int) -> None:
        """Ask a run to stop."""
        self._asked[number] = self._asked.get(number, 0) + 1

    def count(self, number: int) -> int:
        """Return how often a run was asked to stop."""
        return self._asked.get(number, 0)


def carry_out(values: dict[str, Any], is_new: bool, board: Any, number: int) -> dict[str, Any]:
    """Carry out one run in a worker of Ray, and return its outcome as plain values.

    Args:
        values: the run, as `RunSpec.as_dict` describes it.
        is_new: whether its folder did not exist when the run was submitted. One that does now is that of a worker
            which died.
        board: the actor that knows which runs are to stop.
        number: how the board calls the run.
    """
    spec = RunSpec.of(values)
    folder = Path(spec.folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.log").open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    # Ray's handlers end the process at once. With the usual ones, the run saves its state.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if is_new and folder.exists():
        if any((folder / "checkpoints").glob("*")):
            spec = replace(spec, resume=True)
        else:
            shutil.rmtree(folder)
    ended = threading.Event()
    threading.Thread(target=_watch, args=(number, board, ended), daemon=True).start()
    try:
        return asdict(spec.carry_out())
    finally:
        ended.set()


def _watch(number: int, board: Any, ended: threading.Event) -> None:
    """Send this process SIGTERM as often as the run is asked to stop."""
    obeyed = 0
    while not ended.is_set():
        time.sleep(_ASK_EVERY)
        with contextlib.suppress(ray.exceptions.RayError):
            if ray.get(board.count.remote(number)) > obeyed and not ended.is_set():
                obeyed += 1
                os.kill(os.getpid(), signal.SIGTERM)


def build(options: PlaceOptions) -> RayPlace:
    """Build the place that sweeps call "ray"."""
    return RayPlace(options)
