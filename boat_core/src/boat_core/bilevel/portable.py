"""Outer steps and outcomes as plain values, which can be pickled and sent to another process.

    here     data = StepData.of(step, outer)                 outcome = answer.outcome(outer)
    there    answer = OutcomeData.of(data.step(replica.outer, x).solve())

`there` holds a `Replica` of the outer iteration, so that neither the problem nor the operations travel. x is the same
for all tasks of an outer step and travels by itself, as the numpy arrays of its leaves. No conversion changes a bit,
and arrays that arrive are computed at once, as they are where they come from: Jittor's kernels would round differently.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import optree

from ..autodiff import arrays
from ..autodiff.pytrees import as_arrays, sync_tree
from ..autodiff.vectors import Vector, tree_to_numpy
from ..errors import OperationError
from .outer_step import Outcome, OuterStep
from .problem import PerStep, Tasks
from .state import ALONE, LowerState

if TYPE_CHECKING:
    import numpy as np

    from .outer_iteration import OuterIteration

#: The leaves of a vector as numpy arrays.
Leaves = tuple["np.ndarray", ...]


@dataclass(frozen=True)
class Replica:
    """The outer iteration of a solver, made once more in another process.

    Args:
        outer: the outer iteration. Its executor is never asked.
        batches: gives the batches or tasks of outer step k as `Solver.step` takes them; None where only the solver's
            user knows them.
    """

    outer: OuterIteration
    batches: Callable[[int], Mapping[str, Any]] | None = None
    _drawn: dict[int, Mapping[str, tuple[Any, Any]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def pairs(self, k: int) -> Mapping[str, tuple[Any, Any]]:
        """Return the pair of batches of each task of outer step k, drawn once for all tasks that follow.

        Raises:
            OperationError: only the solver's user knows the batches.
        """
        if self.batches is None:
            raise OperationError("the batches cannot be drawn in a worker: only the caller of Solver.step knows them")
        if k not in self._drawn:
            drawn = self.batches(k)
            alone = {ALONE: (drawn.get("lower_batch"), drawn.get("upper_batch"))}
            self._drawn.clear()
            self._drawn[k] = Tasks.of(drawn["tasks"]).by_name() if "tasks" in drawn else alone
        return self._drawn[k]


@dataclass(frozen=True)
class StepData:
    """All that one outer step needs beside x, the problem and the solver.

    Args:
        task: the name of the task.
        k: the number of outer iterations before.
        start: where y starts: its leaves, or "initial" (the problem's y), or "upper" (x).
        optimizer, operation: what the lower problem carried over, see `LowerState`.
        batches: the lower batch, the upper batch, and the lower batch of estimators or None where it is the same. None
            in place of all where they do not travel.
        with_losses, check_inputs: see `OuterStep`.
        drawn: the other process draws the batches itself. If batches travel all the same, it compares them with those.
    """

    task: str
    k: int
    start: Leaves | str
    optimizer: Any
    operation: Any
    batches: tuple[Any, Any, Any] | None
    with_losses: bool
    check_inputs: bool
    drawn: bool = False

    @classmethod
    def of(cls, step: OuterStep, outer: OuterIteration, with_batches: bool = True, drawn: bool = False) -> StepData:
        """Return the data of a step of this outer iteration. See the class for `drawn`."""
        batches = None
        if with_batches:
            estimate = None if step.estimate is step.bilevel else _batch_to_numpy(step.estimate.lower_batch)
            lower, upper = step.bilevel.lower_batch, step.bilevel.upper_batch
            batches = _batch_to_numpy(lower), _batch_to_numpy(upper), estimate
        state = step.state
        optimizer, operation = tree_to_numpy(state.optimizer), tree_to_numpy(state.operation)
        flags = step.with_losses, step.check_inputs
        return cls(step.task, step.k, _start_of(step, outer), optimizer, operation, batches, *flags, drawn)

    def step(self, replica: Replica, x: Vector) -> OuterStep:
        """Return the outer step at x in the process of the replica.

        Raises:
            OperationError: the batches are to be drawn here, and the replica cannot, or draws others.
        """
        outer = replica.outer
        lower, upper, estimate = self._draw(replica) if self.drawn else self.batches or (None, None, None)
        initial = {"initial": outer.y0, "upper": outer.y0.like(x.leaves)}
        start = initial[self.start] if isinstance(self.start, str) else outer.y0.like_numpy(self.start)
        optimizer, operation = (sync_tree(as_arrays(state, "state")) for state in (self.optimizer, self.operation))
        state = LowerState(start.tree, optimizer, operation)
        step = outer.step_at(x, start, state, self.k, self.task, lower, upper, estimate)
        return replace(step, with_losses=self.with_losses, check_inputs=self.check_inputs)

    def _draw(self, replica: Replica) -> tuple[Any, Any, Any]:
        pairs, hint = replica.pairs(self.k), "they must be those of the problem, and depend on k and the seed alone"
        if self.task not in pairs:
            message = f"the batches of outer step {self.k} have no task {self.task!r} in a worker"
            raise OperationError(message, hint=hint)
        lower, upper = pairs[self.task]
        if self.batches is not None and not _equal((lower, upper, None), self.batches):
            where = f"task {self.task} of " if self.task != ALONE else ""
            raise OperationError(f"the batches of {where}outer step {self.k} are others in a worker", hint=hint)
        return lower, upper, None


@dataclass(frozen=True)
class OutcomeData:
    """An `Outcome` with the leaves of its vectors as numpy arrays, and its states as pytrees of those."""

    direction: Leaves | None
    y: Leaves
    start_cotangent: Leaves | None
    rest: Outcome

    @classmethod
    def of(cls, outcome: Outcome) -> OutcomeData:
        """Return the data of an outcome."""
        nothing = Vector((), None)
        optimizer, operation = tree_to_numpy(outcome.optimizer), tree_to_numpy(outcome.operation)
        rest = replace(
            outcome, direction=None, y=nothing, start_cotangent=None, optimizer=optimizer, operation=operation
        )
        direction, start = (None if v is None else v.to_numpy() for v in (outcome.direction, outcome.start_cotangent))
        return cls(direction, outcome.y.to_numpy(), start, rest)

    def outcome(self, outer: OuterIteration) -> Outcome:
        """Return the outcome as one of a step of this outer iteration."""
        direction = None if self.direction is None else outer.x0.like_numpy(self.direction)
        start = None if self.start_cotangent is None else outer.y0.like_numpy(self.start_cotangent)
        optimizer, operation = (
            sync_tree(as_arrays(state, "state")) for state in (self.rest.optimizer, self.rest.operation)
        )
        y = outer.y0.like_numpy(self.y)
        return replace(
            self.rest, direction=direction, y=y, start_cotangent=start, optimizer=optimizer, operation=operation
        )


def _start_of(step: OuterStep, outer: OuterIteration) -> Leaves | str:
    # A start that every process knows does not travel. The arrays of the solver's y and of x are recognised as such.
    for name, vector in (("initial", outer.y0), ("upper", step.x)):
        if len(vector.leaves) == len(step.start.leaves) and all(map(_same, vector.leaves, step.start.leaves)):
            return name
    return step.start.to_numpy()


def _same(one: Any, other: Any) -> bool:
    return one is other


def _batch_to_numpy(batch: Any) -> Any:
    if isinstance(batch, PerStep):
        return PerStep([tree_to_numpy(one) for one in batch.batches])
    return tree_to_numpy(batch)


def _equal(drawn: Any, sent: Any) -> bool:
    """Whether batches that were drawn here are those that another process sent."""
    import numpy as np

    here: Any = [_batch_leaves(batch) for batch in drawn]
    there: Any = [_batch_leaves(batch) for batch in sent]
    if optree.tree_structure(here) != optree.tree_structure(there):
        return False
    pairs = zip(optree.tree_leaves(tree_to_numpy(as_arrays(here, "batch"))), optree.tree_leaves(there))
    return all(np.array_equal(a, b) if arrays.is_array(b) else a is b or a == b for a, b in pairs)


def _batch_leaves(batch: Any) -> Any:
    return list(batch.batches) if isinstance(batch, PerStep) else batch
