"""The outer step of a first-order method: (x, y) → a direction for x and the next y, from first derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..autodiff.pytrees import detach_and_sync
from .invoke import apply_operation, expect, expect_like, expect_report
from .outer_step import Outcome, OuterStep
from .recorder import Recorder
from .roles import FirstOrderStep


@dataclass(frozen=True)
class MethodStep(OuterStep):
    """One step of the solver's first-order method. It has no trajectory: the method steps y as it likes."""

    carries_optimizer: ClassVar[bool] = True

    def _run(self, recorder: Recorder | None) -> Outcome:
        (method,) = self.composition.operations
        descend, options = self.descent(), self.composition.options[method.name]
        arguments = self.bilevel, self.x, self.start, self.state.operation, descend, self.k, options
        step = expect(method, apply_operation(method, *arguments), FirstOrderStep)
        expect_like(method, step.direction, self.x, "direction")
        expect_like(method, step.y, self.start, "y")
        y, direction = step.y.detach().sync(), step.direction.detach().sync()
        reports, concerns = expect_report(method, step.report, step.concerns)
        return Outcome(direction, y, descend.state, detach_and_sync(step.state), reports=reports, concerns=concerns)

    def _locate(self, place: str) -> str:
        (method,) = self.composition.operations
        return f"stage first-order ({method.named}): {place}"
