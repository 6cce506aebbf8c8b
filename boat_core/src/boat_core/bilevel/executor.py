"""Executors: who solves the lower problems of one outer step, and where.

An outer step is one `OuterStep` for each task. They are independent of one another, so an executor may solve them one
after another, together, or on other machines. It returns one `Outcome` for each; the solver sums them in the order of
the tasks, so that the numbers do not depend on who was faster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from .outer_step import Outcome, OuterStep


class Executor(Protocol):
    """What `Solver(executor=…)` and `run.executor` take; packs provide theirs by the hook `boat_executors`."""

    def solve(self, steps: Mapping[str, OuterStep]) -> dict[str, Outcome]:
        """Solve every task, `outcomes[task] = steps[task].solve()` in effect.

        Args:
            steps: the outer step of each task, by its name, in the order in which the user gave the tasks.

        Returns:
            The outcomes under the same names.

        Raises:
            BoatError: that of the first task, in the order of `steps`, whose step failed.
        """


class Sequential:
    """Solves one task after another, in this process."""

    def solve(self, steps: Mapping[str, OuterStep]) -> dict[str, Outcome]:
        return {task: step.solve() for task, step in steps.items()}


def sequential(options: Any) -> Sequential:
    """Build the executor that configurations call "sequential"."""
    return Sequential()
