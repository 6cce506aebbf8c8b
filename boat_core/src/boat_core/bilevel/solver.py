"""The solver: one outer step, from batches to new x and the next start of y.

1 bind the batches      2 map: roll the lower trajectory forward      3 approximate: trajectory → hypergradient
(or one first-order method in place of 2 and 3)      4 upper optimizer: x ← x'      5 next start      6 report

With tasks, 2 and 3 run once for each of them, and 4 descends the mean of their hypergradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ..autodiff import arrays
from ..autodiff.kernels import kernels_allowed
from ..autodiff.memory import DEFAULT_ALLOWED, Memory
from ..autodiff.unrolled import detached
from ..autodiff.vectors import Vector, first_nonfinite, norm, tree_from_numpy, tree_to_numpy
from ..errors import DoubtfulError, NonFiniteError, OperationError, OptionError, StructureError
from ..optimizers.base import Optimizer
from ..plugins.composition import Composition, compose
from ..plugins.registry import Registry
from ..plugins.registry import registry as installed
from .graph import HypergradientGraph, graph_of
from .invoke import called
from .lower_optimizer import LowerOptimizer
from .objectives import Bilevel, check_reproducible, nonfinite_input, prepare_batch, project
from .outer_step import ALONE, LowerState, Outcome, OuterStep, mean_outcome
from .problem import Problem, Tasks, TasksLike
from .report import HypergradientResult, Report, StepResult

_CHOICES = {
    "start": ("warm", "cold", "upper"),
    "lower_state": ("fresh", "carry"),
    "second_order_guard": ("off", "warn", "error"),
    "operators": ("native", "plain"),
    "kernels": ("auto", "plain"),
    "on_nonfinite": ("error", "report"),
}


class Solver:
    """Composes operations into a solver of one problem, and holds what changes from step to step.

    Args:
        problem: the bilevel problem.
        map, approximate: the chains, as names in any order; their defaults complete them.
        first_order: one first-order method instead.
        method: the field's name for a whole chain instead, such as "RHG".
        lower_steps: T >= 1.
        lower_optimizer, upper_optimizer: such as `boat.sgd(0.1)`. A function of x that returns the lower one makes its
            hyperparameters upper variables: `lambda x: boat.sgd(x["rate"])`.
        options: by operation, such as `{"CG": {"max_iterations": 20}}`.
        start: where y starts in every outer iteration: "warm" (where the last one ended), "cold" (the given start),
            "upper" (x itself; x and y must then have the same structure). Without it the rule on which an operation
            insists, and else "warm".
        lower_state: "fresh" starts the lower optimizer's state anew in every outer iteration, "carry" keeps it.
        segment: what the pullback holds: of how many of the last lower steps the graph (an integer), "all", "sqrt"
            (checkpoints instead of all iterates), or "auto", as much as `memory`
            allows; see `boat_core.autodiff.memory`.
        memory: bytes that "auto" may fill, or a text such as "256 MiB".
        strict: an operation's concern (an unconverged solve, say) is an error instead of a line of the report.
        second_order_guard: what an operator that Jittor differentiates wrongly a second time leads to, in an objective
            whose second derivative is taken: "error", "warn", or "off", see `boat_core.twice_differentiable`.
        operators: "native" has the usual spellings of matrix products, convolutions, pooling, cross-entropy and
            activations go to operators that differentiate to every order, inside F and f alone; "plain" has them stay
            Jittor's.
        kernels: "auto" has the packs' kernels do what they can; "plain" has plain operators do all.
        on_nonfinite: "error" raises on NaN or infinity; "report" puts a concern into the report and lets it pass.
        registry: where operations are looked up; by default what is installed.

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
        lower_steps: int,
        lower_optimizer: Optimizer | Callable[[Any], Optimizer],
        upper_optimizer: Optimizer,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        start: str | None = None,
        lower_state: str = "fresh",
        segment: int | str = "auto",
        memory: int | str = DEFAULT_ALLOWED,
        strict: bool = False,
        second_order_guard: str = "error",
        operators: str = "native",
        kernels: str = "auto",
        on_nonfinite: str = "error",
        registry: Registry | None = None,
    ) -> None:
        self.problem = problem
        settings = {
            "lower_state": lower_state,
            "second_order_guard": second_order_guard,
            "operators": operators,
            "kernels": kernels,
            "on_nonfinite": on_nonfinite,
            **({} if start is None else {"start": start}),
        }
        for name, value in settings.items():
            if value not in _CHOICES[name]:
                raise OptionError(f"{name}: expected one of {', '.join(_CHOICES[name])} (got {value!r})")
        if not isinstance(lower_steps, int) or isinstance(lower_steps, bool) or lower_steps < 1:
            raise OptionError(f"lower_steps: expected an integer >= 1 (got {lower_steps!r})")
        if not isinstance(upper_optimizer, Optimizer):
            raise OptionError(f"upper_optimizer: expected an Optimizer such as boat.sgd(0.1) (got {upper_optimizer!r})")
        self._lower_optimizer, self.upper_optimizer = LowerOptimizer(lower_optimizer), upper_optimizer
        composition = compose(registry or installed(), map, approximate, first_order, method, options)
        self._start_rule = composition.start_rule(start)
        self._x = Vector.of(problem.upper, "upper").sync()
        self.lower_optimizer = self._lower_optimizer.at(self._x.tree)
        self.composition: Composition = self._lower_optimizer.fit(composition)
        self.composition.work(lower_steps)
        self.lower_steps, self._memory = lower_steps, Memory(segment, memory)
        self._strict, self._on_nonfinite = strict, on_nonfinite
        self._guard = second_order_guard if self.composition.second_order(lower_steps) else "off"
        self._native, self._kernels = operators == "native", kernels == "auto"
        if self._kernels:
            for kernel in self.composition.kernels(self.lower_optimizer.name):
                kernel.prepare()
        self._y0 = Vector.of(problem.lower, "lower").sync()
        if self._start_rule == "upper":
            self._y0.match(problem.upper, "y starts at x, which must then be like lower; upper")
        for vector, role in ((self._x, "upper"), (self._y0, "lower")):
            if path := first_nonfinite(vector):
                raise NonFiniteError(f"the given {role} variables: leaf {path}")
        self.iteration = 0
        self._upper_state = upper_optimizer.init(self._x.tree)
        self._carries = bool(self.composition.lasting) or lower_state == "carry"
        self._learned: Vector | None = None
        self._start_optimizer, self._start_state = self._learn_start()
        self._lower = {ALONE: self._new_lower()}
        self._checked = self._conduct_checked = False

    def _learn_start(self) -> tuple[Optimizer | None, Any]:
        for entry in self.composition.map:
            if entry.operation.start_optimizer:
                self._learned = self._y0
                options = self.composition.options[entry.name]
                optimizer: Optimizer = called(entry, entry.operation.start_optimizer, options)
                return optimizer, optimizer.init(self._y0.tree)
        return None, None

    def _new_lower(self) -> LowerState:
        """The state of a lower problem that has not been stepped yet."""
        entry, operation_state = self.composition.lasting, None
        if entry and entry.operation.init:
            options = self.composition.options[entry.name]
            operation_state = called(entry, entry.operation.init, self._x, self._y0, options)
        return LowerState(
            self._y0, self.lower_optimizer.init(self._y0.tree) if self._carries else None, operation_state
        )

    # What a user reads

    @property
    def upper(self) -> Any:
        """x now, in the structure given."""
        return self._x.detach().sync().tree

    @property
    def lower(self) -> Any:
        """The last iterate y_T, in the structure given; with tasks a dictionary of them by task."""
        return self._by_task({key: state.y for key, state in self._lower.items()})

    @property
    def start(self) -> Any:
        """Where y will start in the next outer iteration; with tasks and a warm start a dictionary by task."""
        if self._start_rule != "warm":
            return self._start_of(ALONE).detach().sync().tree
        return self._by_task({key: self._start_of(key) for key in self._lower})

    @staticmethod
    def _by_task(vectors: Mapping[str, Vector]) -> Any:
        trees = {key: vector.detach().sync().tree for key, vector in vectors.items()}
        return trees[ALONE] if trees.keys() == {ALONE} else {k: tree for k, tree in trees.items() if k != ALONE}

    @property
    def state(self) -> dict[str, Any]:
        """All that the next step depends on, as one pytree of numpy arrays and numbers."""
        return tree_to_numpy(self._state_tree(self._lower))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to a `state` taken from a solver composed in the same way; the next step is then the same.

        Raises:
            StructureError: it is not a state of such a solver; nothing is changed.
        """
        tasks = (
            state["lower"] if isinstance(state, Mapping) and isinstance(state.get("lower"), Mapping) else self._lower
        )
        read = tree_from_numpy(state, self._state_tree(self._empty_lower(tasks)), "state")
        x = self._x.match(read["upper"], "upper")
        lower = {
            key: LowerState(self._y0.match(one["y"], "lower"), one["optimizer"], one["operation"])
            for key, one in read["lower"].items()
        }
        learned = None if self._learned is None else self._learned.match(read["start"], "start")
        self._x, self._lower, self._learned, self.iteration = x, lower, learned, int(read["iteration"])
        self._upper_state, self._start_state = read["upper_optimizer"], read["start_optimizer"]

    def state_like(self, tasks: Iterable[str]) -> dict[str, Any]:
        """A `state` with these tasks, for its structure alone."""
        return tree_to_numpy(self._state_tree(self._empty_lower(tasks)))

    def _empty_lower(self, tasks: Iterable[str]) -> dict[str, LowerState]:
        new = self._new_lower()
        return dict.fromkeys(tasks, new)

    def _state_tree(self, lower: Mapping[str, LowerState]) -> dict[str, Any]:
        return {
            "iteration": self.iteration,
            "upper": self._x.tree,
            "upper_optimizer": self._upper_state,
            "lower": {
                key: {"y": one.y.tree, "optimizer": one.optimizer, "operation": one.operation}
                for key, one in lower.items()
            },
            "start": None if self._learned is None else self._learned.tree,
            "start_optimizer": self._start_state,
        }

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
        outcome, _, _ = self._solve(self._bind(lower_batch, upper_batch, estimate_batch, tasks))
        y0 = outcome.start_cotangent
        return HypergradientResult(
            upper=outcome.direction.sync().tree,
            start=None if y0 is None else y0.sync().tree,
            report=Report(norm(outcome.direction), outcome.reports, outcome.concerns),
        )

    def held(
        self, lower_batch: Any = None, upper_batch: Any = None, *, tasks: TasksLike | None = None
    ) -> dict[str, int]:
        """Return what the pullback holds with such batches, found by computing one lower step. Changes nothing.

        Returns:
            `iterates` and `graphs`, counted; `iterate_bytes` and `graph_bytes` of one, and the `bytes` of all.
        """
        step = next(iter(self._bind(lower_batch, upper_batch, None, tasks).values()))
        with kernels_allowed(self._kernels):
            held, iterate, graph = step.held()
        return {
            "iterates": held.iterates,
            "graphs": held.graphs,
            "iterate_bytes": iterate,
            "graph_bytes": graph,
            "bytes": held.bytes(iterate, graph),
        }

    def graph(
        self, lower_batch: Any = None, upper_batch: Any = None, *, tasks: TasksLike | None = None
    ) -> HypergradientGraph:
        """Return what one hypergradient at the current point is made of, found by computing it. Changes nothing.

        Arguments and errors as for `hypergradient`; of several tasks the first is looked at.
        """
        bound = self._bind(lower_batch, upper_batch, None, tasks)
        key, step = next(iter(bound.items()))
        solve = partial(self._checked_outcome, where=f"outer step {self.iteration}: ")
        with kernels_allowed(self._kernels):
            return graph_of(step, solve, self._start_rule, self.upper_optimizer, key, len(bound))

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
        bound = self._bind(lower_batch, upper_batch, estimate_batch, tasks)
        outcome, lower, losses = self._solve(bound, losses=True)
        report = Report(norm(outcome.direction), outcome.reports, outcome.concerns)

        updates, upper_state = self.upper_optimizer.update(outcome.direction.tree, self._upper_state, self._x.tree)
        moved = self._x + outcome.upper_scale * self._x.like_tree(updates)
        x = project(moved, self.problem.project_upper, "project_upper").detach().sync()
        x.check_like(self._x, "upper optimizer: x")
        if (path := first_nonfinite(x)) and self._on_nonfinite == "error":
            raise NonFiniteError(f"upper optimizer: x is not finite after the update, leaf {path}")
        learned, start_state = self._moved_start(outcome)

        self._x, self._upper_state = x, detached(upper_state)
        self._learned, self._start_state = learned, start_state
        # Whatever goes on by task remembers every one that there ever was, and none where there are none.
        lasts = self._start_rule == "warm" or self._carries
        known = self._lower if lasts and ALONE not in lower else {}
        self._lower = {key: state for key, state in known.items() if key != ALONE} | lower
        self.iteration += 1
        return StepResult(self.iteration - 1, *losses, report)

    def _moved_start(self, outcome: Outcome) -> tuple[Vector | None, Any]:
        if self._learned is None or self._start_optimizer is None:
            return None, None
        assert outcome.start_cotangent is not None
        tree = self._learned.tree
        updates, state = self._start_optimizer.update(outcome.start_cotangent.tree, self._start_state, tree)
        moved = self._learned + self._learned.like_tree(updates)
        start = project(moved, self.problem.project_lower, "project_lower").detach().sync()
        if (path := first_nonfinite(start)) and self._on_nonfinite == "error":
            raise NonFiniteError(f"the start of y is not finite after its update, leaf {path}")
        return start, detached(state)

    # Inside one outer step

    def _start_of(self, key: str) -> Vector:
        if self._start_rule == "warm":
            return self._lower[key].y if key in self._lower else self._y0
        return {"cold": self._y0, "upper": self._x, "learned": self._learned or self._y0}[self._start_rule]

    def _bind(
        self, lower_batch: Any, upper_batch: Any, estimate_batch: Any, tasks: TasksLike | None
    ) -> dict[str, OuterStep]:
        """One outer step for each task."""
        if tasks is None:
            return {ALONE: self._outer_step(ALONE, "", lower_batch, upper_batch, estimate_batch)}
        if not (lower_batch is None and upper_batch is None and estimate_batch is None):
            raise StructureError("tasks: expected no other batches beside them")
        return {
            key: self._outer_step(key, f"task {key}: ", *pair, None) for key, pair in Tasks.of(tasks).by_name().items()
        }

    def _outer_step(self, key: str, where: str, lower_batch: Any, upper_batch: Any, estimate_batch: Any) -> OuterStep:
        bilevel = Bilevel(
            self.problem,
            prepare_batch(lower_batch, f"{where}lower_batch", self.lower_steps),
            prepare_batch(upper_batch, f"{where}upper_batch", self.lower_steps),
            self.lower_steps,
            self._guard,
            self._native,
        )
        start = self._start_of(key)
        if not self._checked:
            check_reproducible(bilevel, self._x, start)
            self._checked = True
        estimate = bilevel
        if estimate_batch is not None:
            batch = prepare_batch(estimate_batch, "estimate_batch", self.lower_steps)
            estimate = replace(bilevel, lower_batch=batch)
        state = self._lower[key] if key in self._lower else self._new_lower()
        return OuterStep(
            self.composition,
            self._lower_optimizer.at(self._x.tree),
            self._memory,
            bilevel,
            estimate,
            self._x,
            start,
            self.iteration,
            state,
            self._lower_optimizer.learned,
        )

    def _solve(
        self, steps: Mapping[str, OuterStep], losses: bool = False
    ) -> tuple[Outcome, dict[str, LowerState], tuple[float, float]]:
        """Solve each task: the mean of the outcomes, the state of each lower problem, the mean losses if wanted."""
        outcomes, both = {}, []
        for key, step in steps.items():
            place = f"outer step {self.iteration}: " + (f"task {key}: " if key != ALONE else "")
            outcome = self._checked_outcome(step, place)
            outcomes[key] = replace(outcome, lower=replace(outcome.lower, y=outcome.lower.y.sync()))
            both.append(self._losses(step, outcome, place) if losses else (math.nan, math.nan))
        lower = {key: outcome.lower for key, outcome in outcomes.items()}
        upper_loss, lower_loss = (sum(column) / len(both) for column in zip(*both))
        return mean_outcome(outcomes), lower, (upper_loss, lower_loss)

    def _checked_outcome(self, step: OuterStep, where: str) -> Outcome:
        try:
            with kernels_allowed(self._kernels):
                outcome = step.solve() if self._conduct_checked else self._first_outcome(step)
        except NonFiniteError as error:  # an operation that cannot go on
            raise NonFiniteError(f"{where}{error}{_given(step)}") from None
        if place := step.nonfinite(outcome):
            if self._on_nonfinite == "error":
                raise NonFiniteError(f"{where}NaN or infinity in {step.first_nonfinite(place)}")
            outcome = replace(outcome, concerns=(*outcome.concerns, f"NaN or infinity in {place}"))
        if self._strict and outcome.concerns:
            raise DoubtfulError(f"{where}{'; '.join(outcome.concerns)}")
        return outcome

    def _first_outcome(self, step: OuterStep) -> Outcome:
        """The outcome, with what operations were given compared before and after: once in a solver's life."""
        inputs = step.inputs()
        outcome = step.solve()
        if inputs.changed:
            inputs.restore()
            try:
                with inputs.watched():
                    step.solve()  # ends at the operation that did it
            finally:
                inputs.restore()
            names = ", ".join(entry.origin for entry in self.composition.operations)
            raise OperationError(f"one of {names} changed an array that it was given, the first time only")
        self._conduct_checked = True
        return outcome

    def _losses(self, step: OuterStep, outcome: Outcome, where: str) -> tuple[float, float]:
        bilevel, y = step.bilevel, outcome.lower.y
        values = (
            arrays.scalar(bilevel.upper(self._x, y)),
            arrays.scalar(bilevel.lower(self._x, y, self.lower_steps - 1)),
        )
        for role, loss in zip(("upper", "lower"), values):
            if not math.isfinite(loss) and self._on_nonfinite == "error":
                raise NonFiniteError(f"{where}{role}_objective at (x, y_T) is {loss}{_given(step)}")
        return values


def _given(step: OuterStep) -> str:
    """Say that a NaN came in from outside, if one did."""
    place = nonfinite_input(step.bilevel, step.x, step.start)
    return f": NaN or infinity in {place}, which the step was given" if place else ""
