"""Steps 2 and 3 of an outer step: from x and the start of y to a direction for x. Commits nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .autodiff.pullback import Unrolled
from .bilevel import Bilevel, nonfinite_input, project
from .composition import Composition
from .errors import NonFiniteError, StructureError
from .first_order import Descent, FirstOrderStep
from .optimizers.base import Optimizer, apply_updates
from .trajectory import Hypergradient, LowerObjective, Trajectory
from .trees import Vector, first_nonfinite


@dataclass(frozen=True)
class Outcome:
    """A direction for x (the hypergradient, unless a first-order method made it), and where y and the states went."""

    direction: Vector
    start_cotangent: Vector | None
    y: Vector
    optimizer_state: Any
    method_state: Any
    reports: Mapping[str, Mapping[str, Any]]
    concerns: tuple[str, ...]


@dataclass(frozen=True)
class OuterStep:
    """One outer iteration `k` at x, with y starting at `start`.

    `estimate` is `bilevel` with the lower batch on which estimators take derivatives at the end point.
    """

    composition: Composition
    optimizer: Optimizer
    segment: int | None
    bilevel: Bilevel
    estimate: Bilevel
    x: Vector
    start: Vector
    k: int
    optimizer_state: Any
    method_state: Any

    def solve(self) -> Outcome:
        """Run the chains, or the first-order method."""
        return self._first_order() if self.composition.first_order else self._estimate(self._roll())

    def _roll(self) -> Trajectory:
        """Map: y_0 → … → y_T, where Φ_t is the base map's direction, the lower optimizer and the projection."""
        objective = self._aggregated(self.bilevel)
        base = self.composition.map[-1]
        options = self.composition.options[base.name]

        def phi(t: int, z: Any, x: Any) -> Any:
            y = self.start.like_tree(z[0])
            direction = base.operation.apply(objective, self.x.like_tree(x), y, t, options)
            updates, state = self.optimizer.update(direction.tree, z[1], y.tree)
            moved = y.like_tree(apply_updates(y.tree, updates))
            return project(moved, self.bilevel.problem.project_lower, "project_lower").tree, state

        steps = self.bilevel.lower_steps
        unrolled = Unrolled(phi, (self.start.tree, self.optimizer_state), self.x.tree, steps)
        return Trajectory(
            self.bilevel, self._aggregated(self.estimate), unrolled, self.x, self.start, steps, steps, self.segment
        )

    def _aggregated(self, bilevel: Bilevel) -> LowerObjective:
        """ψ: the lower objective as the map chain's modifiers wrap it."""
        objective: LowerObjective = bilevel.lower
        for entry in self.composition.map[:-1]:
            objective = entry.operation.apply(bilevel.upper, objective, self.composition.options[entry.name])
        return objective

    def _estimate(self, trajectory: Trajectory) -> Outcome:
        """Approximate: selectors shorten the trajectory, the estimator makes the hypergradient of it."""
        end, optimizer_state = trajectory.unrolled.iterates[-1]
        reports: dict[str, Mapping[str, Any]] = {}
        *selectors, estimator = self.composition.approximate
        for entry in selectors:
            trajectory, said = entry.operation.apply(trajectory, self.composition.options[entry.name])
            reports[entry.name] = said
        h = estimator.operation.apply(trajectory, self.composition.options[estimator.name])
        if not isinstance(h, Hypergradient):
            raise StructureError(f"{estimator.name}: expected a Hypergradient (got {type(h).__name__})")
        h.x.check_like(self.x, f"{estimator.name}: hypergradient")
        if h.report:
            reports[estimator.name] = h.report
        concerns = tuple(f"{estimator.name}: {concern}" for concern in h.concerns)
        return Outcome(h.x.detach(), h.y0, self.start.like_tree(end), optimizer_state, None, reports, concerns)

    def _first_order(self) -> Outcome:
        entry = self.composition.first_order
        assert entry is not None
        descend = Descent(self.optimizer, self.optimizer_state, self.bilevel.problem.project_lower)
        options = self.composition.options[entry.name]
        step = entry.operation.apply(self.bilevel, self.x, self.start, self.method_state, descend, self.k, options)
        if not isinstance(step, FirstOrderStep):
            raise StructureError(f"{entry.name}: expected a FirstOrderStep (got {type(step).__name__})")
        step.direction.check_like(self.x, f"{entry.name}: direction")
        step.y.check_like(self.start, f"{entry.name}: y")
        y, direction = step.y.detach().sync(), step.direction.detach().sync()
        concerns = tuple(f"{entry.name}: {concern}" for concern in step.concerns)
        reports = {entry.name: step.report} if step.report else {}
        return Outcome(direction, None, y, descend.state, step.state, reports, concerns)

    def nonfinite(self, outcome: Outcome) -> str | None:
        """Name the result that holds a NaN or an infinity, or None."""
        for vector, name in ((outcome.direction, "the hypergradient"), (outcome.y, "the last iterate of y")):
            if path := first_nonfinite(vector):
                return f"{name}, leaf {path}"
        return None

    def first_nonfinite(self, found: str) -> str:
        """Repeat the step with every intermediate number looked at, and name the first that is not finite."""
        if place := nonfinite_input(self.bilevel, self.x, self.start):
            return f"{place}, which the step was given"
        if entry := self.composition.first_order:
            return f"stage first-order ({entry.name}): {found}"
        trajectory = self._roll()
        for t in range(1, trajectory.steps + 1):
            if path := first_nonfinite(trajectory.iterate(t)):
                chain = " + ".join(entry.name for entry in self.composition.map)
                return f"stage map ({chain}), lower step {t - 1}: y_{t}, leaf {path}"
        chain = " + ".join(entry.name for entry in self.composition.approximate)
        try:
            self._estimate(trajectory.watched())
        except NonFiniteError as error:
            return f"stage approximate ({chain}): {error}"
        return f"stage approximate ({chain}): {found}"
