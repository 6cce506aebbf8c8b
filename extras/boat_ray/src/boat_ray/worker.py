"""The process that solves tasks: an actor of Ray that holds a replica of the outer iteration."""

from __future__ import annotations

import os
import pickle
import socket
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ray import cloudpickle

from boat_core import Outcome, OutcomeData, OuterIteration, Replica, Solver, StepData, Vector, pairwise_sum

_dumps: Any = cloudpickle.dumps


@dataclass(frozen=True)
class Failure:
    """An exception in a worker.

    Args:
        place: the place of the task among those that the worker was given.
        task: the name of the task; None where the replica could not be built.
        error: the exception, pickled; None where it cannot be.
        text: its traceback.
        worker: the process, as messages name it.
        is_memory: whether memory ran out, which is no fault of the task alone.
    """

    place: int
    task: str | None
    error: bytes | None
    text: str
    worker: str
    is_memory: bool = False


@dataclass(frozen=True)
class Answer:
    """What a worker found, and how long it computed.

    Args:
        results: an `OutcomeData` for each task, or the function values of each share.
    """

    results: list[Any] = field(default_factory=list)
    seconds: float = 0.0
    failure: Failure | None = None


class Worker:
    """Solves tasks. What it is given is all that it needs, so that it may die at any moment."""

    def __init__(self) -> None:
        self._replica: Replica | None = None
        self._x: tuple[int, Vector | None] = (-1, None)

    def build(self, recipe: bytes) -> tuple[str, Failure | None]:
        """Make the replica. Return the name of this process, and what went wrong."""
        try:
            self._replica = as_replica(cloudpickle.loads(recipe)())
        except Exception as error:
            return name(), _failure(0, None, error)
        return name(), None

    def solve(self, step: int, x: Sequence[Any], works: Sequence[StepData], group: int, apart: bool) -> Any:
        """Solve tasks in order, up to the first that fails.

        Args:
            step: the number of the outer step, by which the worker knows that x is the same.
            x: the leaves of x.
            works: the data of the tasks.
            group: how many consecutive tasks' hypergradients are summed.
            apart: return the sums as results of their own, which stay in Ray's object store, after the answer.
        """
        begun, outcomes = time.perf_counter(), []
        groups = -(-len(works) // group)
        for place, data in enumerate(works):
            try:
                outcomes.append(data.step(self._held, self._x_of(step, x)).solve())
            except Exception as error:
                failed = Answer([], time.perf_counter() - begun, _failure(place, data.task, error))
                return (failed, *[None] * groups) if apart else failed
        results = [OutcomeData.of(outcome) for outcome in _summed(outcomes, group)]
        if not apart:
            return Answer(results, time.perf_counter() - begun)
        sums = [(results[i * group].direction, results[i * group].start_cotangent) for i in range(groups)]
        light = [replace(result, direction=None, start_cotangent=None) for result in results]
        return Answer(light, time.perf_counter() - begun), *sums

    def values(self, step: int, x: Sequence[Any], shares: Sequence[tuple[StepData, int, int]]) -> Answer:
        """Compute shares of function values: each is the data of a task, the place of the share and their count."""
        begun, results = time.perf_counter(), []
        for place, (data, share, count) in enumerate(shares):
            try:
                results.append(data.step(self._held, self._x_of(step, x)).share_of_values(share, count))
            except Exception as error:
                return Answer([], time.perf_counter() - begun, _failure(place, data.task, error))
        return Answer(results, time.perf_counter() - begun)

    def add(self, left: Any, right: Any) -> Any:
        """Sum two results of `solve`, apart, as the driver would sum them."""
        outer = self._held.outer
        pairs = zip(left, right, (outer.x0, outer.y0))
        return tuple(None if a is None else _added(a, b, like) for a, b, like in pairs)

    def process(self) -> int:
        """Return the number of this process."""
        return os.getpid()

    @property
    def _held(self) -> Replica:
        assert self._replica is not None, "build comes first"
        return self._replica

    def _x_of(self, step: int, x: Sequence[Any]) -> Vector:
        known, vector = self._x
        if vector is None or known != step:
            vector = self._held.outer.x0.like_numpy(x)
            self._x = step, vector
        return vector


def as_replica(made: Any) -> Replica:
    """Return a replica, from whatever a recipe made: a replica, a solver or an outer iteration."""
    if isinstance(made, Replica):
        return made
    outer = made.outer if isinstance(made, Solver) else made
    if not isinstance(outer, OuterIteration):
        raise TypeError(f"factory: expected a function that returns a boat_core.Solver (got {type(made).__name__})")
    return Replica(outer)


def name() -> str:
    """Name this process for messages."""
    return f"{os.getpid()} on {socket.gethostname()}"


def _summed(outcomes: Sequence[Outcome], group: int) -> list[Outcome]:
    """Sum the hypergradients of each group into its first outcome."""
    if group == 1:
        return list(outcomes)
    summed = [replace(outcome, direction=None, start_cotangent=None) for outcome in outcomes]
    for first in range(0, len(outcomes), group):
        some = outcomes[first : first + group]
        direction = pairwise_sum([outcome.direction for outcome in some])
        start = pairwise_sum([outcome.start_cotangent for outcome in some])
        summed[first] = replace(summed[first], direction=direction, start_cotangent=start)
    return summed


def _added(left: Any, right: Any, like: Vector) -> Any:
    total = pairwise_sum([like.like_numpy(left), like.like_numpy(right)])
    assert total is not None
    return total.to_numpy()


def _failure(place: int, task: str | None, error: Exception) -> Failure:
    try:
        pickled: bytes | None = _dumps(error)
        pickle.loads(pickled or b"")  # an exception may be pickled and not be made again
    except Exception:
        pickled = None
    return Failure(place, task, pickled, traceback.format_exc(), name(), isinstance(error, MemoryError))


#: A function without arguments that makes a replica, a solver or an outer iteration.
Recipe = Callable[[], Any]
