"""Steps 2 and 3 of an outer step: from x and the start of y to a direction for x. Commits nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import optree

from ..autodiff.guard import guarding
from ..autodiff.memory import Held, Memory
from ..autodiff.routing import inside_objective
from ..autodiff.unrolled import Unrolled, detached, float_leaves
from ..autodiff.vectors import Vector, first_nonfinite
from ..errors import NonFiniteError
from ..optimizers.base import Optimizer
from ..plugins.composition import Composition
from ..plugins.registry import Registered
from .invoke import Inputs, applied, blame, expect, expect_like, expect_report
from .lower_step import LowerStep
from .objectives import Bilevel, nonfinite_input
from .problem import PerStep
from .roles import Descent, FirstOrderStep, Iteration, MapStep
from .trajectory import Hypergradient, LowerObjective, Point, Trajectory

#: The name of the only lower problem where there are no tasks.
ALONE = ""


@dataclass(frozen=True)
class LowerState:
    """What one lower problem carries from one outer iteration to the next: y, and states of its own.

    Args:
        y: where the last iteration ended.
        optimizer: the lower optimizer's state; None where every iteration begins it anew.
        operation: the state of the first-order method or of the map with its own adjoint, if it has one.
    """

    y: Vector
    optimizer: Any
    operation: Any


@dataclass(frozen=True)
class Outcome:
    """A direction for x (the hypergradient, unless a first-order method made it), and where y and the states went."""

    direction: Vector
    lower: LowerState
    start_cotangent: Vector | None = None
    upper_scale: float = 1.0
    reports: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    concerns: tuple[str, ...] = ()


@dataclass(frozen=True)
class OuterStep:
    """One outer iteration `k` at x of one lower problem, with y starting at `start`.

    `estimate` is `bilevel` with the lower batch on which estimators take derivatives at the end point; `learned` gives
    `optimizer` where its hyperparameters are upper variables.
    """

    composition: Composition
    optimizer: Optimizer
    memory: Memory
    bilevel: Bilevel
    estimate: Bilevel
    x: Vector
    start: Vector
    k: int
    state: LowerState
    learned: Callable[[Any], Optimizer] | None = None

    def solve(self) -> Outcome:
        """Run the chains, or the first-order method."""
        if self.composition.first_order:
            return self._first_order()
        return self._own_adjoint() if self.composition.own_adjoint else self._estimate(self._roll())

    def inputs(self) -> Inputs:
        """The arrays that its operations are given, as they are now."""
        lower = self.bilevel.lower_batch
        batches = list(lower.batches) if isinstance(lower, PerStep) else lower
        return Inputs(self.x.leaves, self.start.leaves, batches, self.bilevel.upper_batch)

    def _roll(self) -> Trajectory:
        """Map: y_0 → … → y_T, where Φ_t is the base map's direction, the lower optimizer and the projection."""
        steps = self.bilevel.lower_steps
        unrolled = Unrolled(self._lower_step(), self._lower_start(), self.x.tree, steps, self.memory)
        objective = self._aggregated(self.estimate)
        return Trajectory(self.bilevel, objective, unrolled, self.x, self.start, steps, steps, k=self.k)

    def held(self) -> tuple[Held, int, int]:
        """What the pullback will hold, the bytes of one iterate and those of one graph; computes a lower step."""
        if self.composition.lasting:
            return Held(0, 0), 0, 0
        one = Unrolled(self._lower_step(), self._lower_start(), self.x.tree, 1, self.memory)
        held = self.memory.plan(self.bilevel.lower_steps, one.iterate_bytes, one.graph_bytes)
        return held, one.iterate_bytes, one.graph_bytes

    def _lower_start(self) -> tuple[Any, Any]:
        state = self.optimizer.init(self.start.tree) if self.state.optimizer is None else self.state.optimizer
        return self.start.tree, state

    def _lower_step(self) -> LowerStep:
        objective = self._aggregated(self.bilevel)
        base = self.composition.map[-1]
        options = self.composition.options[base.name]

        def along(t: int, y: Vector, x: Vector) -> Vector:
            direction = applied(base, objective, x, y, t, options)
            return expect_like(base, direction, y, "direction") if t == 0 else direction

        project = self.bilevel.project_lower if self.bilevel.problem.project_lower is not None else None
        known = project is None and self.optimizer.options is not None and not self.learned
        fused = base.operation.optimizer_steps.get(self.optimizer.name) if known else None
        if fused and not fused.serves(self.optimizer.options):
            fused = None
        return LowerStep(along, self.optimizer, project, fused, self.x, self.start, self.learned)

    def _aggregated(self, bilevel: Bilevel, given: Mapping[str, Mapping[str, Any]] | None = None) -> LowerObjective:
        """ψ: the lower objective as the map chain's modifiers wrap it, `given` in place of some of their options."""
        objective: LowerObjective = bilevel.lower
        for entry in self.composition.map[:-1]:
            if entry.operation.apply:
                options = replace(self.composition.options[entry.name], **(given or {}).get(entry.name, {}))
                objective = self._modified(entry, applied(entry, bilevel.upper, objective, options))
        if bilevel.guard == "off":
            return objective

        def guarded(x: Vector, y: Vector, t: int) -> Any:
            with guarding(bilevel.guard):
                return objective(x, y, t)

        return guarded

    def _modified(self, entry: Registered, objective: Any) -> LowerObjective:
        """What a modifier made, with its own operators and numbers as exact as a user's."""
        if not callable(objective):
            blame(entry, f"returned {type(objective).__name__}, expected an objective (x, y, t)")

        def evaluated(x: Vector, y: Vector, t: int) -> Any:
            with inside_objective(self.bilevel.native):
                return objective(x, y, t)

        return evaluated

    def _estimate(self, trajectory: Trajectory) -> Outcome:
        """Approximate: selectors shorten the trajectory, the estimator makes the hypergradient of it."""
        end, optimizer_state = trajectory.unrolled.iterate(trajectory.unrolled.steps)
        reports: dict[str, Mapping[str, Any]] = {}
        *selectors, estimator = self.composition.approximate
        for entry in selectors:
            view = expect(entry, applied(entry, trajectory, self.composition.options[entry.name]), tuple)
            if not (len(view) == 2 and isinstance(view[0], Trajectory)):
                blame(entry, f"returned {view!r}, expected (Trajectory, report)")
            trajectory = view[0]
            reports |= expect_report(entry, view[1] or {}, ())[0]
        h = applied(estimator, trajectory, self.composition.options[estimator.name])
        y0 = h.y0 if isinstance(h, Hypergradient) else None
        if y0 is None and any(entry.operation.start == "learned" for entry in self.composition.map):
            y0 = trajectory.pullback(trajectory.end.upper_gradient)[0]
        lower = LowerState(
            self.start.like_tree(end), optimizer_state if self.state.optimizer is not None else None, None
        )
        outcome = self._outcome(estimator, h, lower, y0, reports=reports)
        if self.optimizer.by_sign and "pullback" in estimator.operation.tags:
            blind = f"{self.optimizer.name} steps by signs of gradients, through which no derivative passes: what the"
            blind += " lower objective knows of x is lost to the hypergradient"
            outcome = replace(outcome, concerns=(*outcome.concerns, blind))
        return outcome

    def _own_adjoint(self) -> Outcome:
        """A map that makes the hypergradient itself: one step of y, and what it says of x."""
        base = self.composition.map[-1]

        def point(given: Mapping[str, Mapping[str, Any]]) -> Point:
            return Point(self.estimate, self._aggregated(self.estimate, given), self.x, self.start, 0, watch=False)

        names = frozenset(entry.name for entry in self.composition.operations)
        iteration = Iteration(self.k, names, self.state.operation, point)
        step = expect(base, applied(base, iteration, self.composition.options[base.name]), MapStep)
        expect_like(base, step.direction, self.start, "direction")
        descend = self._descent()
        lower = LowerState(descend(self.start, step.direction).sync(), descend.state, detached(step.state))
        return self._outcome(base, step.hypergradient, lower, None, step.upper_scale)

    def _outcome(
        self,
        entry: Registered,
        h: Hypergradient,
        lower: LowerState,
        y0: Vector | None,
        upper_scale: float = 1.0,
        reports: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Outcome:
        h = expect(entry, h, Hypergradient)
        expect_like(entry, h.x, self.x, "hypergradient")
        if h.y0 is not None:
            expect_like(entry, h.y0, self.start, "cotangent of y_0")
        said, concerns = expect_report(entry, h.report, h.concerns)
        return Outcome(h.x.detach().sync(), lower, y0, upper_scale, {**(reports or {}), **said}, concerns)

    def _first_order(self) -> Outcome:
        entry = self.composition.first_order
        assert entry is not None
        descend, options = self._descent(), self.composition.options[entry.name]
        step = applied(entry, self.bilevel, self.x, self.start, self.state.operation, descend, self.k, options)
        step = expect(entry, step, FirstOrderStep)
        expect_like(entry, step.direction, self.x, "direction")
        expect_like(entry, step.y, self.start, "y")
        y, direction = step.y.detach().sync(), step.direction.detach().sync()
        reports, concerns = expect_report(entry, step.report, step.concerns)
        lower = LowerState(y, descend.state, detached(step.state))
        return Outcome(direction, lower, reports=reports, concerns=concerns)

    def _descent(self) -> Descent:
        return Descent(self.optimizer, self.state.optimizer, self.bilevel.problem.project_lower)

    def nonfinite(self, outcome: Outcome) -> str | None:
        """Name the result that holds a NaN or an infinity, or None."""
        for vector, name in ((outcome.direction, "the hypergradient"), (outcome.lower.y, "the last iterate of y")):
            if path := first_nonfinite(vector):
                return f"{name}, leaf {path}"
        state = outcome.lower.operation
        if not all(math.isfinite(leaf) for leaf in optree.tree_leaves(state) if isinstance(leaf, float)):
            return "its own state"
        floats: Any = float_leaves(state)
        if floats and first_nonfinite(Vector(floats, optree.tree_structure(floats))):
            return "its own state"
        return None

    def first_nonfinite(self, found: str) -> str:
        """Repeat the step with every intermediate number looked at, and name the first that is not finite."""
        if place := nonfinite_input(self.bilevel, self.x, self.start):
            return f"{place}, which the step was given"
        if entry := self.composition.first_order:
            return f"stage first-order ({entry.named}): {found}"
        if self.composition.own_adjoint:
            return f"stage map ({self.composition.map[-1].named}): {found}"
        trajectory = self._roll()
        for t in range(1, trajectory.steps + 1):
            if path := first_nonfinite(trajectory.iterate(t)):
                chain = " + ".join(entry.named for entry in self.composition.map)
                return f"stage map ({chain}), lower step {t - 1}: y_{t}, leaf {path}"
        chain = " + ".join(entry.named for entry in self.composition.approximate)
        try:
            self._estimate(trajectory.watched())
        except NonFiniteError as error:
            return f"stage approximate ({chain}): {error}"
        return f"stage approximate ({chain}): {found}"


def mean_outcome(outcomes: Mapping[str, Outcome]) -> Outcome:
    """The outcome of all tasks together: mean hypergradients; each figure of the reports becomes a list by task."""
    all_of = list(outcomes.values())
    if list(outcomes) == [ALONE]:
        return all_of[0]
    share = 1.0 / len(all_of)
    names = {name: None for one in all_of for name in one.reports}
    reports = {name: _by_figure([one.reports.get(name, {}) for one in all_of]) for name in names}
    concerns = tuple(f"task {key}: {concern}" for key, one in outcomes.items() for concern in one.concerns)
    starts = [one.start_cotangent for one in all_of if one.start_cotangent is not None]
    direction = (share * _sum([one.direction for one in all_of])).sync()
    start = (share * _sum(starts)).sync() if starts else None
    return replace(all_of[0], direction=direction, start_cotangent=start, reports=reports, concerns=concerns)


def _by_figure(reports: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    figures = {figure: None for report in reports for figure in report}
    return {figure: [report.get(figure) for report in reports] for figure in figures}


def _sum(vectors: Sequence[Vector]) -> Vector:
    total = vectors[0]
    for vector in vectors[1:]:
        total = total + vector
    return total
