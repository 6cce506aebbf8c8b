"""What an outer step returns to the user: its losses and its report, as plain dataclasses ready for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Report:
    """What the operations of one outer step did.

    Args:
        hypergradient_norm: ‖hypergradient‖; for first-order solvers the norm of the direction for x.
        operations: the figures of each operation that reports, by its name.
        concerns: sentences that each say why a number may be wrong.
        engine: what ran the lower steps: "programs", or "plain", with the reason where programs were to be used.
    """

    hypergradient_norm: float
    operations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    concerns: tuple[str, ...] = ()
    # Two reports of one step are equal, whatever ran it: the numbers are.
    engine: str = field(default="plain", compare=False)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class HypergradientResult:
    """What `Solver.hypergradient` returns.

    Args:
        upper: the hypergradient, a pytree like x.
        start: the cotangent of y_0, a pytree like y; None where the chain computes none.
        report: what the operations did.
    """

    upper: Any
    start: Any
    report: Report


@dataclass(frozen=True)
class StepResult:
    """What `Solver.step` returns.

    Args:
        iteration: the number of the outer iteration, from 0.
        upper_loss, lower_loss: F and f at (x, y_T), before x was updated; means over the tasks where there are several.
        report: what the operations did.
    """

    iteration: int
    upper_loss: float
    lower_loss: float
    report: Report
