"""Executors: who solves the lower problems of one outer step, and where.

An outer step is one `OuterStep` for each task. They are independent of one another, so an executor may solve them one
after another, together, or on other machines. It returns one `Outcome` for each; the solver sums them in the order of
the tasks, so that the numbers do not depend on who was faster.

    embedded          Sequential: steps[task].solve()
    other processes   outer.data(step) ──► outer.step(data, x).solve() ──► outcome.to_numpy() ──► outer.outcome(data)

An executor of the second kind also has the methods of `RemoteExecutor`. It makes the same outer iteration in each
process from `OuterIteration.recipe`, and sends the data of the tasks there. The step of an operation with the tag
"values" can be divided further, see `point_values.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from .outer_step import Outcome, OuterStep

if TYPE_CHECKING:
    from .outer_iteration import OuterIteration


class Executor(Protocol):
    """What `Solver(executor=…)` and `run.executor` take; packs provide theirs by the hook `boat_executors`."""

    def solve(self, steps: Mapping[str, OuterStep]) -> dict[str, Outcome]:
        """Solve every task, `outcomes[task] = steps[task].solve()` in effect.

        The direction of an outcome may be None where an earlier task's includes it, see `pairwise_sum`.

        Args:
            steps: the outer step of each task, by its name, in the order in which the user gave the tasks.

        Returns:
            The outcomes under the same names.

        Raises:
            BoatError: that of the first task, in the order of `steps`, whose step failed.
        """


class RemoteExecutor(Executor, Protocol):
    """An executor whose tasks are solved in other processes. All of this is optional for an `Executor`."""

    #: Whether its workers draw the batches, so that steps come without them, but for that of the first task.
    draws_batches: bool

    def bind(self, outer: OuterIteration) -> None:
        """Take the outer iteration whose tasks it will solve. An outer iteration calls this once, when it is made."""

    def close(self) -> None:
        """Give back what the executor holds, such as processes. A run calls this at its end, however it ends.

        A later `solve` begins anew. A second call changes nothing.
        """


class Sequential:
    """Solves one task after another, in this process."""

    def solve(self, steps: Mapping[str, OuterStep]) -> dict[str, Outcome]:
        return {task: step.solve() for task, step in steps.items()}


def sequential(options: Any) -> Sequential:
    """Build the executor that configurations call "sequential"."""
    return Sequential()
