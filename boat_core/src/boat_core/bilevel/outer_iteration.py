"""One outer iteration of a solver as two pure functions: `propose` reads a state, `commit` makes the next one of it.

    batches ──► OuterStep per task ──► Executor.solve ──► Outcome per task ──► Proposal ──► SolverState

Neither changes anything, so that an iteration which fails, or one that is only looked at, leaves the solver as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ..autodiff.programs import Programs
from ..autodiff.pytrees import detach_and_sync
from ..autodiff.vectors import Vector, first_nonfinite, norm, tree_from_numpy, tree_to_numpy
from ..errors import NonFiniteError, OperationError, OptionError, StructureError
from ..optimizers.base import Optimizer
from ..plugins.composition import Composition
from .adjoint_step import AdjointStep
from .executor import Executor
from .invoke import call_operation
from .lower_optimizer import LowerOptimizer
from .lower_step import fused_step
from .method_step import MethodStep
from .objectives import Bilevel, check_reproducible, prepare_batch, project
from .outer_step import Outcome, OuterStep, mean_outcome
from .portable import Replica
from .problem import Problem, Tasks, TasksLike
from .report import Report, StepResult
from .settings import SolverSettings
from .state import ALONE, LowerState, SolverState, as_dicts
from .tangent import loses_derivative
from .trajectory_step import TrajectoryStep


@dataclass(frozen=True)
class Batches:
    """What one outer iteration evaluates the objectives on: three batches, or the tasks in their place."""

    lower: Any = None
    upper: Any = None
    estimate: Any = None
    tasks: TasksLike | None = None


@dataclass(frozen=True)
class Proposal:
    """What one outer iteration would do; `commit` does it.

    Args:
        outcome: that of all tasks together.
        lower: what each lower problem of this iteration carries over, by task.
        result: the losses and the report of the iteration.
    """

    outcome: Outcome
    lower: Mapping[str, LowerState]
    result: StepResult


class OuterIteration:
    """The part of a solver that does not change from step to step.

    Args:
        problem: the bilevel problem.
        composition: the operations and their options.
        settings: how they work.
        lower_optimizer, upper_optimizer: what moves y and x.
        executor: who solves the lower problems.
        recipe: a function without arguments, which can be pickled, that makes this outer iteration in another process.
            Executors of other processes need it.

    Raises:
        CompositionError, OptionError, StructureError, NonFiniteError: these do not fit together.
    """

    def __init__(
        self,
        problem: Problem,
        composition: Composition,
        settings: SolverSettings,
        lower_optimizer: LowerOptimizer,
        upper_optimizer: Optimizer,
        executor: Executor,
        recipe: Callable[[], Replica] | None = None,
    ) -> None:
        if not callable(getattr(executor, "solve", None)):
            raise OptionError(where="executor", expected="an object with a method `solve`", got=repr(executor))
        if not isinstance(upper_optimizer, Optimizer):
            expected = "an Optimizer such as boat.sgd(0.1)"
            raise OptionError(where="upper_optimizer", expected=expected, got=repr(upper_optimizer))
        self.problem, self.executor, self.upper_optimizer = problem, executor, upper_optimizer
        self.recipe = recipe
        self.start_rule = composition.start_rule(settings.start)
        self.x0 = Vector.of(problem.upper, "upper").sync()
        self._lower_optimizer, self.lower_optimizer = lower_optimizer, lower_optimizer.at(self.x0.tree)
        self.composition = lower_optimizer.fit(composition)
        self.composition.work(settings.lower_steps)
        second_order = self.composition.second_order(settings.lower_steps)
        self.settings = settings if second_order else replace(settings, second_order_guard="off")
        if settings.kernels == "auto":
            self._prepare_kernels()
        self.y0 = Vector.of(problem.lower, "lower").sync()
        if self.start_rule == "upper":
            self.y0.match(problem.upper, "y starts at x, which must then be like lower; upper")
        for vector, role in ((self.x0, "upper"), (self.y0, "lower")):
            if path := first_nonfinite(vector):
                raise NonFiniteError(f"the given {role} variables: {path}")
        self._step_class = _step_class(self.composition)
        self._carries = self._step_class.carries_optimizer or settings.lower_state == "carry"
        # Each is looked at once in a solver's life: it costs a step, and the answer does not change.
        self._reproducible = self._inputs_checked = False
        if callable(bind := getattr(executor, "bind", None)):
            bind(self)

    def _prepare_kernels(self) -> None:
        fused = None
        if self.composition.map:
            fused = fused_step(self.composition.map[-1].operation.optimizer_steps, self.lower_optimizer)
        for kernel in self.composition.kernels(fused):
            kernel.prepare()

    # States

    def initial_state(self) -> SolverState:
        """Return the state before the first iteration."""
        upper_state = self.upper_optimizer.init(self.x0.tree)
        start = start_state = None
        if self.start_optimizer is not None:
            start, start_state = self.y0.tree, self.start_optimizer.init(self.y0.tree)
        return SolverState(0, self.x0.tree, upper_state, {ALONE: self._new_lower(self.x0)}, start, start_state)

    @cached_property
    def start_optimizer(self) -> Optimizer | None:
        """What moves the learned start of y; None where no operation learns one."""
        for entry in self.composition.map:
            if entry.operation.start_optimizer:
                options = self.composition.options[entry.name]
                optimizer: Optimizer = call_operation(entry, entry.operation.start_optimizer, options)
                return optimizer
        return None

    def _new_lower(self, x: Vector) -> LowerState:
        """Return the state of a lower problem that has not been stepped yet."""
        entry, operation = self.composition.stateful_operation, None
        if entry and entry.operation.init:
            operation = call_operation(entry, entry.operation.init, x, self.y0, self.composition.options[entry.name])
        optimizer = self.lower_optimizer.init(self.y0.tree) if self._carries else None
        return LowerState(self.y0.tree, optimizer, operation)

    def like(self, state: SolverState, tasks: Iterable[str]) -> SolverState:
        """Return a state with these tasks, for its structure alone."""
        lower = self._new_lower(self.x0.like_tree(state.upper))
        return replace(state, lower=dict.fromkeys(tasks, lower))

    def read(self, state: Any, like: SolverState) -> SolverState:
        """Return a state from arrays of numpy, as `Solver.state` gives them.

        Raises:
            StructureError: it is not the state of such a solver.
        """
        content = as_dicts(state)
        lower = content.get("lower") if isinstance(content, Mapping) else None
        tasks = lower if isinstance(lower, Mapping) else like.lower
        read = tree_from_numpy(content, self.like(like, tasks).as_dict(), "state")
        self.x0.match(read["upper"], "upper")
        for one in read["lower"].values():
            self.y0.match(one["y"], "lower")
        if read["start"] is not None:
            self.y0.match(read["start"], "start")
        by_task = {task: LowerState(**one) for task, one in read["lower"].items()}
        return SolverState(**{**read, "iteration": int(read["iteration"]), "lower": by_task})

    def start_of(self, state: SolverState, task: str) -> Vector:
        """Return where y starts in the next iteration of this task."""
        if self.start_rule == "warm":
            return self.y0.like_tree(state.lower[task].y) if task in state.lower else self.y0
        start = self.y0.tree if state.start is None else state.start
        return self.y0.like_tree({"cold": self.y0.tree, "upper": state.upper, "learned": start}[self.start_rule])

    # One iteration

    def steps(self, state: SolverState, batches: Batches, losses: bool = True) -> dict[str, OuterStep]:
        """Return the outer step of each task, ready to be solved.

        Raises:
            StructureError: the batches or the tasks do not fit.
            ObjectiveError: an objective does not return one reproducible floating-point number.
        """
        if batches.tasks is None:
            pairs: Mapping[str, Any] = {ALONE: (batches.lower, batches.upper)}
        elif not (batches.lower is None and batches.upper is None and batches.estimate is None):
            raise StructureError("tasks: expected no other batches beside them")
        else:
            pairs = Tasks.of(batches.tasks).by_name()
        # Where the executor's workers draw the batches, only those of the first task are needed here.
        drawn_here = 1 if getattr(self.executor, "draws_batches", False) else len(pairs)
        programs, steps = self._programs(len(pairs)), dict[str, OuterStep]()
        for place, task in enumerate(pairs):
            lower, upper = pairs[task] if place < drawn_here else (None, None)
            steps[task] = self._step(state, task, lower, upper, batches.estimate, losses, place == 0, programs)
        return steps

    def _programs(self, tasks: int) -> Programs | None:
        """Return the programs that so many tasks share."""
        if self.settings.engine == "plain":
            return None
        steps = self.settings.lower_steps
        work = self.composition.work(steps)
        estimated_at_end = any("end-point" in entry.operation.tags for entry in self.composition.approximate)
        second_order = self.composition.second_order(steps) or work.frozen
        pulled = work.learned_start or (second_order and not estimated_at_end)
        return Programs(pulled=pulled, frozen=work.frozen, tasks=tasks)

    def _step(
        self,
        state: SolverState,
        task: str,
        lower: Any,
        upper: Any,
        estimate: Any,
        losses: bool,
        check_inputs: bool,
        programs: Programs | None,
    ) -> OuterStep:
        x, start = self.x0.like_tree(state.upper), self.start_of(state, task)
        lower_state = state.lower[task] if task in state.lower else self._new_lower(x)
        step = self.step_at(x, start, lower_state, state.iteration, task, lower, upper, estimate)
        if not self._reproducible:
            check_reproducible(step.bilevel, x, start)
            self._check_projection(start)
            self._reproducible = True
        check_inputs = check_inputs and not self._inputs_checked
        return replace(step, with_losses=losses, check_inputs=check_inputs, programs=programs)

    def step_at(
        self, x: Vector, start: Vector, state: LowerState, k: int, task: str, lower: Any, upper: Any, estimate: Any
    ) -> OuterStep:
        """Return the outer step of one task, ready to be solved.

        Args:
            x, start: where it begins.
            state: what the lower problem carried over.
            k: the number of outer iterations before.
            task: the name of the task, "" where there are no tasks.
            lower, upper, estimate: the batches; `estimate` may be None, as in `Solver.step`.

        Raises:
            StructureError: the batches do not fit.
        """
        steps, where = self.settings.lower_steps, f"task {task}: " if task != ALONE else ""
        bilevel = Bilevel(
            self.problem,
            prepare_batch(lower, f"{where}lower_batch", steps),
            prepare_batch(upper, f"{where}upper_batch", steps),
            steps,
            self.settings.second_order_guard,
            self.settings.operators == "native",
        )
        at_end = bilevel
        if estimate is not None:
            at_end = replace(bilevel, lower_batch=prepare_batch(estimate, "estimate_batch", steps))
        return self._step_class(
            composition=self.composition,
            settings=self.settings,
            optimizer=self._lower_optimizer.at(x.tree),
            learned=self._lower_optimizer.learned,
            bilevel=bilevel,
            estimate=at_end,
            x=x,
            start=start,
            k=k,
            state=state,
            task=task,
            programs=self._programs(1),
        )

    def _check_projection(self, y: Vector) -> None:
        """Raise `StructureError` if the derivative that this solver takes of the lower projection is lost."""
        projection = self.problem.project_lower
        tags = {tag for entry in self.composition.approximate for tag in entry.operation.tags}
        differentiates = (
            self.composition.own_adjoint or self.start_rule == "learned" or tags & {"end-point", "pullback"}
        )
        if differentiates and callable(projection) and loses_derivative(projection, y):
            raise StructureError(
                "its result does not depend on its argument in Jittor's graph, so its derivative would be zero",
                where="project_lower",
                expected="a function written with Jittor's operators",
                hint="a solver that takes no derivative of the lower steps accepts any function",
            )

    def propose(self, state: SolverState, batches: Batches, losses: bool = True) -> Proposal:
        """Solve every lower problem at `state`, and return what a commit would do. Changes nothing.

        Args:
            state: where the iteration begins.
            batches: what the objectives are evaluated on.
            losses: compute F and f at the end too.
        """
        outcomes = self._solve(self.steps(state, batches, losses))
        self._inputs_checked = True
        outcome = mean_outcome(outcomes)
        assert outcome.direction is not None
        report = Report(norm(outcome.direction), outcome.reports, outcome.concerns, outcome.engine)
        result = StepResult(state.iteration, *outcome.losses, report)
        return Proposal(outcome, {task: one.lower for task, one in outcomes.items()}, result)

    def _solve(self, steps: Mapping[str, OuterStep]) -> dict[str, Outcome]:
        outcomes = self.executor.solve(steps)
        for task in steps:
            outcome = outcomes.get(task) if isinstance(outcomes, Mapping) else None
            if not isinstance(outcome, Outcome):
                found = "none" if outcome is None else type(outcome).__name__
                executor = type(self.executor).__qualname__
                raise OperationError(f"executor {executor}: expected an outcome for the task {task!r} (got {found})")
        # In the order of the tasks: their mean must not depend on which of them was solved first.
        return {task: outcomes[task] for task in steps}

    def commit(self, state: SolverState, proposal: Proposal) -> SolverState:
        """Return the next state: x moved along the proposal's direction, and the next start of every y.

        Raises:
            NonFiniteError: x or the learned start is not finite after its update.
            StructureError: the upper optimizer or a projection returned another structure, shape or dtype.
        """
        x, outcome = self.x0.like_tree(state.upper), proposal.outcome
        assert outcome.direction is not None
        updates, upper_state = self.upper_optimizer.update(outcome.direction.tree, state.upper_optimizer, x.tree)
        moved = x + outcome.upper_scale * x.like_tree(updates)
        x = project(moved, self.problem.project_upper, "project_upper").detach().sync()
        x.check_like(self.x0, "upper optimizer: x")
        self._check_finite(x, "upper optimizer: x is not finite after the update")
        start, start_state = self._moved_start(state, outcome.start_cotangent)
        # Whatever goes on by task remembers every task that there ever was, and none where there are none.
        lasts = self.start_rule == "warm" or self._carries
        known = state.lower if lasts and ALONE not in proposal.lower else {}
        lower = {task: one for task, one in known.items() if task != ALONE} | dict(proposal.lower)
        return SolverState(state.iteration + 1, x.tree, detach_and_sync(upper_state), lower, start, start_state)

    def _moved_start(self, state: SolverState, cotangent: Vector | None) -> tuple[Any, Any]:
        if self.start_optimizer is None:
            return None, None
        assert cotangent is not None
        updates, start_state = self.start_optimizer.update(cotangent.tree, state.start_optimizer, state.start)
        moved = self.y0.like_tree(state.start) + self.y0.like_tree(updates)
        start = project(moved, self.problem.project_lower, "project_lower").detach().sync()
        self._check_finite(start, "the start of y is not finite after its update")
        return start.tree, detach_and_sync(start_state)

    def _check_finite(self, vector: Vector, message: str) -> None:
        if self.settings.on_nonfinite == "error" and (path := first_nonfinite(vector)):
            raise NonFiniteError(f"{message}, {path}")


def _step_class(composition: Composition) -> type[OuterStep]:
    """Return the kind of outer step that these operations take."""
    if composition.first_order:
        return MethodStep
    return AdjointStep if composition.own_adjoint else TrajectoryStep


def to_numpy(state: SolverState) -> SolverState:
    """Return a copy of a state with its arrays as numpy arrays."""
    copy: SolverState = tree_to_numpy(state)
    return copy
