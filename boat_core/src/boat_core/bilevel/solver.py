"""The solver: operations composed for one problem, and the state that an outer step moves on.

1 bind the batches      2 map: roll the lower trajectory forward      3 approximate: trajectory → hypergradient
(or one first-order method in place of 2 and 3)      4 upper optimizer: x ← x'      5 next start      6 report

With tasks, 2 and 3 run once for each of them, and 4 descends the mean of their hypergradients. `OuterIteration` does
all of it as functions of a state. This class holds the state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..autodiff.vectors import Vector
from ..declare.options import read_options
from ..optimizers.base import Optimizer
from ..plugins.composition import Composition, compose
from ..plugins.registry import Registry
from .executor import Executor, Sequential
from .graph import HypergradientGraph, graph_of
from .lower_optimizer import LowerOptimizer
from .outer_iteration import Batches, OuterIteration, to_numpy
from .problem import Problem, TasksLike
from .report import HypergradientResult, StepResult
from .settings import SolverSettings, with_settings
from .state import ALONE, SolverState


class Solver:
    """Composes operations into a solver of one problem, and holds what changes from step to step.

    Args:
        problem: the bilevel problem.
        map, approximate: the chains, as names in any order. Defaults complete them.
        first_order: one first-order method instead.
        method: the field's name for a whole chain instead, such as "RHG".
        lower_optimizer, upper_optimizer: such as `boat.sgd(0.1)`. A function of x that returns the lower one makes its
            hyperparameters upper variables: `lambda x: boat.sgd(x["rate"])`.
        options: by operation, such as `{"CG": {"max_iterations": 20}}`.
        registry: where operations are looked up; by default what is installed.
        executor: who solves the lower problems of an outer step; by default one after another in this process.
        settings: the fields of `SolverSettings` by name. `lower_steps`, T >= 1, is required.

    Attributes:
        outer: the outer iteration as pure functions of a state, `propose` and `commit`.

    Raises:
        CompositionError, OptionError, StructureError: with the place and what was expected.
    """

    def __init__(
        self,
        problem: Problem,
        map: Sequence[str] | str | None = None,
        approximate: Sequence[str] | str | None = None,
        first_order: str | None = None,
        method: str | None = None,
        *,
        lower_optimizer: Optimizer | Callable[[Any], Optimizer],
        upper_optimizer: Optimizer,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        registry: Registry | None = None,
        executor: Executor | None = None,
        **settings: Any,
    ) -> None:
        self.outer = OuterIteration(
            problem,
            compose(registry, map, approximate, first_order, method, options),
            read_options(SolverSettings, settings, "solver"),
            LowerOptimizer(lower_optimizer),
            upper_optimizer,
            executor or Sequential(),
        )
        self._state = self.outer.initial_state()

    @classmethod
    def of(cls, outer: OuterIteration) -> Solver:
        """Return a solver around an outer iteration that is composed already."""
        solver = cls.__new__(cls)
        solver.outer, solver._state = outer, outer.initial_state()
        return solver

    # A copy is a solver of its own: both go on from here, and neither changes the other.

    def __deepcopy__(self, memo: Any) -> Solver:
        solver = Solver.__new__(Solver)
        solver.__setstate__(self.__getstate__())
        return solver

    def __getstate__(self) -> dict[str, Any]:
        """Return what never changes, and the state as arrays of numpy. Pickling needs functions with global names."""
        return {"outer": self.outer, "state": self.state}

    def __setstate__(self, parts: Mapping[str, Any]) -> None:
        self.outer, tasks = parts["outer"], parts["state"].lower
        self._state = self.outer.read(parts["state"], self.outer.like(self.outer.initial_state(), tasks))

    # What a user reads

    @property
    def problem(self) -> Problem:
        """The problem that it solves."""
        return self.outer.problem

    @property
    def composition(self) -> Composition:
        """The operations in the order in which they act, and the options of each."""
        return self.outer.composition

    @property
    def settings(self) -> SolverSettings:
        """The settings in force. The second-order guard is off where no second derivative is taken."""
        return self.outer.settings

    @property
    def lower_steps(self) -> int:
        """The number T of lower steps in one outer step."""
        return self.settings.lower_steps

    @property
    def lower_optimizer(self) -> Optimizer:
        """What moves y, at the given x where its hyperparameters are upper variables."""
        return self.outer.lower_optimizer

    @property
    def upper_optimizer(self) -> Optimizer:
        """What moves x."""
        return self.outer.upper_optimizer

    @property
    def iteration(self) -> int:
        """The number of outer steps done."""
        return self._state.iteration

    @property
    def upper(self) -> Any:
        """x now, in the structure given."""
        return _copy(self.outer.x0.like_tree(self._state.upper))

    @property
    def lower(self) -> Any:
        """The last iterate y_T, in the structure given; with tasks a dictionary of them by task."""
        return self._by_task({task: self.outer.y0.like_tree(one.y) for task, one in self._state.lower.items()})

    @property
    def start(self) -> Any:
        """Where y will start in the next outer iteration; with tasks and a warm start a dictionary by task."""
        if self.outer.start_rule != "warm":
            return _copy(self.outer.start_of(self._state, ALONE))
        return self._by_task({task: self.outer.start_of(self._state, task) for task in self._state.lower})

    @staticmethod
    def _by_task(vectors: Mapping[str, Vector]) -> Any:
        trees = {task: _copy(vector) for task, vector in vectors.items()}
        return trees[ALONE] if trees.keys() == {ALONE} else {k: tree for k, tree in trees.items() if k != ALONE}

    @property
    def state(self) -> SolverState:
        """All that the next step depends on, as one pytree of numpy arrays and numbers."""
        return to_numpy(self._state)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to a `state` taken from a solver composed in the same way; the next step is then the same.

        Raises:
            StructureError: it is not a state of such a solver; nothing is changed.
        """
        self._state = self.outer.read(state, self._state)

    def state_like(self, tasks: Iterable[str]) -> SolverState:
        """Return a `state` with these tasks, for its structure alone."""
        return to_numpy(self.outer.like(self._state, tasks))

    # What a user does

    def hypergradient(
        self,
        lower_batch: Any = None,
        upper_batch: Any = None,
        estimate_batch: Any = None,
        *,
        tasks: TasksLike | None = None,
    ) -> HypergradientResult:
        """Return the hypergradient at the current point (first-order: the direction for x). Changes nothing.

        Args:
            lower_batch: any pytree, or `PerStep` with one batch for each lower step.
            upper_batch: any pytree.
            estimate_batch: the lower batch on which estimators at the end point take ∇ψ; the last step's by default.
            tasks: instead of the batches, a `(lower_batch, upper_batch)` for each task: a sequence, or a mapping by
                name. Each task has a lower problem of its own and, with a warm start, goes on from where it was when
                its name (its place in the sequence) was last given.

        Raises:
            NonFiniteError, DoubtfulError, ObjectiveError, StructureError, SecondOrderError, OperationError.
        """
        batches = Batches(lower_batch, upper_batch, estimate_batch, tasks)
        proposal = self.outer.propose(self._state, batches, losses=False)
        outcome = proposal.outcome
        assert outcome.direction is not None
        start = None if outcome.start_cotangent is None else outcome.start_cotangent.sync().tree
        return HypergradientResult(outcome.direction.sync().tree, start, proposal.result.report)

    def held(
        self, lower_batch: Any = None, upper_batch: Any = None, *, tasks: TasksLike | None = None
    ) -> dict[str, int]:
        """Return what the pullback holds with such batches, found by computing one lower step. Changes nothing.

        Returns:
            `iterates` and `graphs`, counted; `iterate_bytes` and `graph_bytes` of one, and the `bytes` of all.
        """
        (step, *_) = self.outer.steps(self._state, Batches(lower_batch, upper_batch, None, tasks)).values()
        return step.memory().as_dict()

    def engine(self, lower_batch: Any = None, upper_batch: Any = None, *, tasks: TasksLike | None = None) -> str:
        """Return what runs the lower steps on such batches, found by tracing one. Changes nothing.

        Returns:
            "programs", or "plain", with the reason where programs were to be used.
        """
        (step, *_) = self.outer.steps(self._state, Batches(lower_batch, upper_batch, None, tasks)).values()
        return step.memory().engine

    def graph(
        self, lower_batch: Any = None, upper_batch: Any = None, *, tasks: TasksLike | None = None
    ) -> HypergradientGraph:
        """Return what one hypergradient at the current point is made of, found by computing it. Changes nothing.

        Arguments and errors as for `hypergradient`; of several tasks the first is looked at.
        """
        batches = Batches(lower_batch, upper_batch, None, tasks)
        (step, *others) = self.outer.steps(self._state, batches, losses=False).values()
        return graph_of(step, self.outer.start_rule, self.upper_optimizer, 1 + len(others))

    def step(
        self,
        lower_batch: Any = None,
        upper_batch: Any = None,
        estimate_batch: Any = None,
        *,
        tasks: TasksLike | None = None,
    ) -> StepResult:
        """Do one outer iteration; arguments and errors as for `hypergradient`. After an error nothing has changed.

        With tasks, the losses are means over them.
        """
        proposal = self.outer.propose(self._state, Batches(lower_batch, upper_batch, estimate_batch, tasks))
        self._state = self.outer.commit(self._state, proposal)
        return proposal.result


def _copy(vector: Vector) -> Any:
    """Return a vector's pytree, computed and without its history."""
    return vector.detach().sync().tree


Solver.__signature__ = with_settings(Solver.__init__)  # type: ignore[attr-defined]
