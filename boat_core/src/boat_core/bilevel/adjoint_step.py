"""The outer step of a map that computes the hypergradient itself, such as DM: one step of y, and what it says of x."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ..autodiff.pytrees import detach_and_sync
from .aggregate import aggregated
from .invoke import apply_operation, expect, expect_hypergradient, expect_like
from .outer_step import Outcome, OuterStep
from .recorder import Recorder
from .roles import Iteration, MapStep
from .tangent import LowerSet
from .trajectory import Hypergradient, Point


@dataclass(frozen=True)
class AdjointStep(OuterStep):
    """One step of a base map with an adjoint of its own. It replaces the estimators that stand beside it."""

    carries_optimizer: ClassVar[bool] = True

    def _run(self, recorder: Recorder | None) -> Outcome:
        base = self.composition.map[-1]
        projection, lower_set = self.bilevel.problem.project_lower, None
        if projection is not None:
            # The map steps y along the whole ∇_y ψ, before it is projected.
            lower_set = LowerSet(projection, self.optimizer.plain_rate, restricts_gradient=False, curved=True)

        def point(overrides: Mapping[str, Mapping[str, Any]]) -> Point:
            objective = aggregated(self.composition, self.estimate, overrides)
            return Point(self.estimate, objective, self.x, self.start, 0, watch=False, lower_set=lower_set)

        names = frozenset(entry.name for entry in self.composition.operations)
        labels = frozenset().union(*(entry.operation.labels for entry in self.composition.operations))
        iteration = Iteration(self.k, names, self.state.operation, point, labels)
        step = expect(base, apply_operation(base, iteration, self.composition.options[base.name]), MapStep)
        expect_like(base, step.direction, self.start, "direction")
        descend = self.descent()
        y, state = descend(self.start, step.direction).sync(), detach_and_sync(step.state)
        h: Hypergradient = step.hypergradient
        report, concerns = expect_hypergradient(base, h, self.x, self.start)
        if lower_set is not None:
            concerns += tuple(f"{base.name}: {concern}" for concern in lower_set.concerns)
        direction = h.x.detach().sync()
        return Outcome(direction, y, descend.state, state, None, step.upper_scale, report, concerns)

    def _locate(self, place: str) -> str:
        return f"stage map ({self.composition.map[-1].named}): {place}"
