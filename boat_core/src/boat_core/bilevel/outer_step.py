"""One outer step of one lower problem: from x and the start of y to a direction for x. Commits nothing.

There are three kinds, with one protocol:

    TrajectoryStep    map: y_0 → … → y_T, then approximate: trajectory → hypergradient
    AdjointStep       one step of a map that computes the hypergradient itself
    MethodStep        one step of a first-order method

The outer iteration chooses among them once; nothing else asks which kind a step is.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import optree

from ..autodiff import arrays
from ..autodiff.evaluation import evaluating
from ..autodiff.memory import Held
from ..autodiff.programs import Programs
from ..autodiff.pytrees import detach_and_sync, float_leaves
from ..autodiff.vectors import Vector, first_nonfinite
from ..errors import DoubtfulError, NonFiniteError, OperationError
from ..optimizers.base import Optimizer
from ..plugins.composition import Composition
from .invoke import InputGuard
from .objectives import Bilevel, nonfinite_input
from .point_values import Given, PointValues, Share, ShareDone
from .problem import PerStep
from .recorder import Recorder
from .roles import Descent
from .settings import SolverSettings
from .state import ALONE, LowerState


@dataclass(frozen=True)
class Outcome:
    """What an outer step found for one lower problem.

    Args:
        direction: what the upper optimizer descends: the hypergradient, or a first-order method's direction for x.
            None where the direction of an earlier task includes it, see `pairwise_sum`.
        y: where the lower problem ended.
        optimizer, operation: the states that it carries over, see `LowerState`.
        start_cotangent: the cotangent of y_0, where an operation asks for it.
        upper_scale: a factor on the upper optimizer's step.
        reports: for each operation that reports, its figures.
        concerns: sentences that say why a number may be wrong.
        losses: F and f at (x, y), where they were asked for.
        engine: what ran the lower steps, see `Report`.
    """

    direction: Vector | None
    y: Vector
    optimizer: Any = None
    operation: Any = None
    start_cotangent: Vector | None = None
    upper_scale: float = 1.0
    reports: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    concerns: tuple[str, ...] = ()
    losses: tuple[float, float] = (math.nan, math.nan)
    engine: str = "plain"

    @property
    def lower(self) -> LowerState:
        """What the lower problem carries into the next outer iteration."""
        return LowerState(self.y.tree, self.optimizer, self.operation)


@dataclass(frozen=True)
class MemoryUse:
    """What a pullback holds: how many iterates and graphs, and the bytes of one of each.

    A graph is what one step leaves for its pullback. `engine` is what would run the lower steps, see `Report`.
    """

    held: Held
    iterate_bytes: int
    graph_bytes: int
    engine: str = "plain"

    def as_dict(self) -> dict[str, int]:
        """The figures by name, with the `bytes` of all that is held."""
        return {
            "iterates": self.held.iterates,
            "graphs": self.held.graphs,
            "iterate_bytes": self.iterate_bytes,
            "graph_bytes": self.graph_bytes,
            "bytes": self.held.bytes(self.iterate_bytes, self.graph_bytes),
        }


@dataclass(frozen=True)
class OuterStep(ABC):
    """One outer iteration at x of one lower problem, whose y starts at `start`.

    Args:
        composition: the operations of the solver.
        settings: its settings; the guard is "off" where no second derivative is taken.
        optimizer: the lower optimizer at x.
        learned: gives the lower optimizer from x, where its hyperparameters are upper variables.
        bilevel: F and f with the batches of this step.
        estimate: the same with the lower batch on which estimators take derivatives at the end point.
        x, start: where the step begins.
        k: outer iterations done before.
        state: what the lower problem carried over.
        task: its name, "" where there are no tasks.
        with_losses: compute F and f at the end too.
        check_inputs: compare the arrays that operations are given before and after.
        programs: the programs of the lower steps, which all tasks of an outer iteration share; None for none.
        evaluate: how `Trajectory.values_from` computes values.
    """

    composition: Composition
    settings: SolverSettings
    optimizer: Optimizer
    learned: Callable[[Any], Optimizer] | None
    bilevel: Bilevel
    estimate: Bilevel
    x: Vector
    start: Vector
    k: int
    state: LowerState
    task: str = ALONE
    with_losses: bool = True
    check_inputs: bool = False
    programs: Programs | None = None
    evaluate: PointValues = map

    #: Whether the lower optimizer's state lasts from one outer iteration to the next, whatever the settings say.
    carries_optimizer: ClassVar[bool] = False

    # What a kind of step provides

    @abstractmethod
    def _run(self, recorder: Recorder | None) -> Outcome:
        """Run the operations."""

    @abstractmethod
    def _locate(self, place: str) -> str:
        """Repeat the step with every intermediate number checked; name the stage and the first that is not finite.

        `place` names the result that is not finite, for where nothing before it can be named.
        """

    def memory(self) -> MemoryUse:
        """Say what the pullback will hold. Computes one lower step where there is a pullback."""
        return MemoryUse(Held(0, 0), 0, 0)

    # What all have in common

    def solve(self, recorder: Recorder | None = None) -> Outcome:
        """Run the operations, and check what they return.

        Args:
            recorder: is told what the pullback does.

        Raises:
            NonFiniteError: names the stage, the lower step and the leaf; under `on_nonfinite="report"` a concern.
            DoubtfulError: under `strict`, where an operation has a concern.
            OperationError: an operation raised, or returned what its role does not.
        """
        try:
            # A caller may be inside a function that is differentiated. What comes out of here has no history.
            with evaluating(kernels=self.settings.kernels == "auto", differentiated=False):
                outcome = self._run_checking_inputs(recorder) if self.check_inputs else self._run(recorder)
        except NonFiniteError as error:  # an operation that cannot go on
            raise NonFiniteError(f"{self.place}{error}{self._given()}") from None
        if place := _nonfinite_result(outcome):
            if self.settings.on_nonfinite == "error":
                raise NonFiniteError(f"{self.place}NaN or infinity in {self.first_nonfinite(place)}")
            outcome = replace(outcome, concerns=(*outcome.concerns, f"NaN or infinity in {place}"))
        if self.settings.strict and outcome.concerns:
            raise DoubtfulError(f"{self.place}{'; '.join(outcome.concerns)}")
        # Computed now: a kernel of the next step that took part of this one in would round differently, and the same
        # step after a checkpoint or in another process would have other bits.
        outcome = replace(outcome, y=outcome.y.sync(), optimizer=detach_and_sync(outcome.optimizer))
        return replace(outcome, losses=self._losses(outcome.y)) if self.with_losses else outcome

    @property
    def can_share_values(self) -> bool:
        """Whether the work is function values that several processes can share: an operation has the tag "values"."""
        return any("values" in entry.operation.tags for entry in self.composition.operations)

    def share_of_values(self, place: int, count: int) -> list[float]:
        """Compute the function values at every `count`-th point, beginning with the point `place`, and nothing else.

        Raises:
            OperationError: the operations asked for no values.
        """
        try:
            replace(self, evaluate=Share(place, count), check_inputs=False).solve()
        except ShareDone as done:
            return done.values
        names = ", ".join(entry.origin for entry in self.composition.operations)
        raise OperationError(f"none of {names} asked for function values, though one has the tag 'values'")

    def with_values(self, shares: Sequence[Sequence[float]]) -> OuterStep:
        """Return this step with all function values known: `shares[i]` is `share_of_values(i, len(shares))`."""
        return replace(self, evaluate=Given(shares))

    @property
    def place(self) -> str:
        """How messages begin: the outer step and the task."""
        return f"outer step {self.k}: " + (f"task {self.task}: " if self.task != ALONE else "")

    def first_nonfinite(self, place: str) -> str:
        """Name what was place_given that is not finite, or the first number that was computed and is not."""
        if place_given := nonfinite_input(self.bilevel, self.x, self.start):
            return f"{place_given}, which the step was given"
        return self._locate(place)

    def descent(self) -> Descent:
        """The lower optimizer as an operation that steps y itself uses it."""
        return Descent(self.optimizer, self.state.optimizer, self.bilevel.problem.project_lower)

    def _run_checking_inputs(self, recorder: Recorder | None) -> Outcome:
        lower = self.bilevel.lower_batch
        batches = list(lower.batches) if isinstance(lower, PerStep) else lower
        inputs = InputGuard(self.x.leaves, self.start.leaves, batches, self.bilevel.upper_batch)
        outcome = self._run(recorder)
        if inputs.changed:
            inputs.restore()
            try:
                with inputs.watched():
                    self._run(None)  # ends at the operation that did it
            finally:
                inputs.restore()
            names = ", ".join(entry.origin for entry in self.composition.operations)
            raise OperationError(f"one of {names} changed an array that it was given, the first time only")
        return outcome

    def _losses(self, y: Vector) -> tuple[float, float]:
        losses = (
            arrays.scalar(self.bilevel.upper(self.x, y)),
            arrays.scalar(self.bilevel.lower(self.x, y, self.settings.lower_steps - 1)),
        )
        for role, loss in zip(("upper", "lower"), losses):
            if not math.isfinite(loss) and self.settings.on_nonfinite == "error":
                raise NonFiniteError(f"{self.place}{role}_objective at (x, y_T) is {loss}{self._given()}")
        return losses

    def _given(self) -> str:
        """Say that a NaN came in from outside, if one did."""
        place = nonfinite_input(self.bilevel, self.x, self.start)
        return f": NaN or infinity in {place}, which the step was given" if place else ""


def mean_outcome(outcomes: Mapping[str, Outcome]) -> Outcome:
    """Return the outcome of all tasks together.

    Hypergradients and losses are means. A figure of the reports becomes a list by task.
    """
    (first, *_) = by_task = list(outcomes.values())
    if list(outcomes) == [ALONE]:
        return first
    share = 1.0 / len(by_task)
    direction = pairwise_sum([outcome.direction for outcome in by_task])
    start = pairwise_sum([outcome.start_cotangent for outcome in by_task])
    if direction is None:
        raise OperationError("expected an outcome with a direction (got none)")
    names = {name: None for outcome in by_task for name in outcome.reports}
    reports = {name: _by_figure([outcome.reports.get(name, {}) for outcome in by_task]) for name in names}
    concerns = tuple(f"task {task}: {concern}" for task, outcome in outcomes.items() for concern in outcome.concerns)
    upper, lower = (sum(column) / len(by_task) for column in zip(*(outcome.losses for outcome in by_task)))
    return replace(
        first,
        direction=(share * direction).sync(),
        start_cotangent=None if start is None else (share * start).sync(),
        reports=reports,
        concerns=concerns,
        losses=(upper, lower),
        engine="; ".join(dict.fromkeys(outcome.engine for outcome in by_task)),
    )


def pairwise_sum(vectors: Sequence[Vector | None]) -> Vector | None:
    """Sum vectors as a binary tree over their places, which alone decides the rounding.

    A node of the tree sums 2ⁿ places that begin at a multiple of 2ⁿ. So the sum of such a group can be computed
    anywhere. The group then counts with that sum in its first place and None in the others, and the result has the same
    bits. With up to three vectors the sum is the plain one.

    Returns:
        The sum of those that are not None; None if there is none.
    """
    level = list(vectors)
    while len(level) > 1:
        level = [_added(*level[place : place + 2]) for place in range(0, len(level), 2)]
        # Computed now: within one kernel the compiler may sum in another order.
        arrays.sync(leaf for vector in level if vector is not None for leaf in vector.leaves)
    return level[0] if level else None


def _added(left: Vector | None, right: Vector | None = None) -> Vector | None:
    if left is None or right is None:
        return right if left is None else left
    return left + right


def _nonfinite_result(outcome: Outcome) -> str | None:
    """Name the result that holds a NaN or an infinity, or return None."""
    for vector, name in ((outcome.direction, "the hypergradient"), (outcome.y, "the last iterate of y")):
        if vector is not None and (path := first_nonfinite(vector)):
            return f"{name}, {path}"
    state = outcome.operation
    if not all(math.isfinite(leaf) for leaf in optree.tree_leaves(state) if isinstance(leaf, float)):
        return "its own state"
    floats: Any = float_leaves(state)
    if floats and first_nonfinite(Vector(floats, optree.tree_structure(floats))):
        return "its own state"
    return None


def _by_figure(reports: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    figures = {figure: None for report in reports for figure in report}
    return {figure: [report.get(figure) for report in reports] for figure in figures}
