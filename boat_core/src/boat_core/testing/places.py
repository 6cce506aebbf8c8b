"""What a sweep requires of the place that carries out its runs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Hashable
from pathlib import Path

from ..sweeps.place import FAILED, FINISHED, INTERRUPTED, RunOutcome, RunSpec, SweepPlace


def check_place(place: SweepPlace, config: str, folder: Path, seconds: float = 120.0) -> None:
    """Check that a place carries runs out, reports those that fail, and stops one so that it can be resumed.

    - Two runs that are submitted together finish, and each leaves the folder that its spec names.
    - A run whose configuration is wrong is an outcome with the error in one line, and no exception.
    - A run that is stopped ends as interrupted, and goes on from where it was.
    - `wait` returns when its time is over. `close` ends what is left, and a second call does nothing.

    The place is closed afterwards.

    Args:
        place: The place to check.
        config: The text of a configuration in YAML, for a run of a few short steps, with `run.steps` at least 2 and a
            `problem_path` that the place can read.
        folder: An empty folder that this process and the place share.
        seconds: How long any of the checks may take.

    Raises:
        AssertionError: The place lacks one of these properties. The message says which.
    """
    check = _Check(place, config, folder, seconds)
    try:
        check.finish_two()
        check.fail_one()
        check.stop_and_resume()
    finally:
        place.close()
        place.close()


class _Check:
    def __init__(self, place: SweepPlace, config: str, folder: Path, seconds: float) -> None:
        self._place, self._config, self._folder, self._seconds = place, config, folder.absolute(), seconds

    def finish_two(self) -> None:
        assert isinstance(self._place.jobs, int) and self._place.jobs >= 1, f"jobs: got {self._place.jobs!r}"
        specs = [self._spec(name) for name in ("one", "two")]
        handles = {self._place.submit(spec): spec for spec in specs}
        assert len(handles) == 2, "submit returned one handle for two runs"
        begin = time.monotonic()
        self._place.wait(list(handles)[:0], 0)
        assert time.monotonic() - begin < 10, "wait with a timeout of 0 did not return"
        outcomes = self._outcomes(*handles)
        for handle, spec in handles.items():
            outcome = outcomes[handle]
            assert outcome.status == FINISHED, f"run {spec.name} is {outcome.status}: {outcome.error}"
            stored = json.loads(Path(spec.folder, "summary.json").read_text("utf-8"))
            assert outcome.summary is not None and outcome.summary["steps"] == stored["steps"], "another summary"

    def fail_one(self) -> None:
        handle = self._place.submit(self._spec("wrong", "run.steps=-1"))
        outcome = self._outcomes(handle)[handle]
        assert outcome.status == FAILED, f"a run with a wrong configuration is {outcome.status}"
        assert outcome.error and "run.steps" in outcome.error, f"the error does not say what is wrong: {outcome.error}"

    def stop_and_resume(self) -> None:
        spec = self._spec("stopped", "run.steps=1000000")
        handle = self._place.submit(spec)
        metrics = Path(spec.folder, "metrics.jsonl")
        self._until(lambda: metrics.exists() and metrics.stat().st_size > 0, "the run takes no step")
        assert self._place.wait([handle], 0) == {}, "wait returned a run that goes on"
        self._place.stop(handle)
        outcome = self._outcomes(handle)[handle]
        assert outcome.status == INTERRUPTED, f"a run that was stopped is {outcome.status}: {outcome.error}"
        self._place.stop(handle)  # it has ended, and is left alone
        steps = json.loads(Path(spec.folder, "summary.json").read_text("utf-8"))["steps"]
        handle = self._place.submit(self._spec("stopped", f"run.steps={steps + 1}", resume=True))
        outcome = self._outcomes(handle)[handle]
        assert outcome.status == FINISHED, f"a run that was resumed is {outcome.status}: {outcome.error}"
        assert outcome.summary is not None and outcome.summary["resumed_from"] == steps, "it did not go on"
        left = self._place.submit(self._spec("left", "run.steps=1000000"))
        assert self._place.wait([left], 0) == {}, "wait returned a run that goes on"

    def _spec(self, name: str, *overrides: str, resume: bool = False) -> RunSpec:
        return RunSpec(name, self._config, overrides, str(self._folder / name), resume)

    def _outcomes(self, *handles: Hashable) -> dict[Hashable, RunOutcome]:
        outcomes: dict[Hashable, RunOutcome] = {}

        def all_ended() -> bool:
            outcomes.update(self._place.wait([handle for handle in handles if handle not in outcomes], 0.1))
            return len(outcomes) == len(handles)

        self._until(all_ended, "a run does not end")
        return outcomes

    def _until(self, is_true: Callable[[], bool], complaint: str) -> None:
        end = time.monotonic() + self._seconds
        while not is_true():
            assert time.monotonic() < end, f"{complaint} within {self._seconds:g} s"
            time.sleep(0.02)
