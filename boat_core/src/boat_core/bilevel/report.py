"""What one outer step has to say: plain dataclasses, JSON-ready."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Report:
    """What the operations of one outer step did.

    Args:
        hypergradient_norm: ‖hypergradient‖ (first-order solvers: of the direction for x).
        operations: for each operation that reports, its figures.
        concerns: sentences that say why a number may be wrong.
    """

    hypergradient_norm: float
    operations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    concerns: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class HypergradientResult:
    """`Solver.hypergradient`'s answer: pytrees like x (`upper`) and like y_0 (`start`, where the chain gives one)."""

    upper: Any
    start: Any
    report: Report


@dataclass(frozen=True)
class StepResult:
    """`Solver.step`'s answer. The losses are those at (x, y_T) before x was updated."""

    iteration: int
    upper_loss: float
    lower_loss: float
    report: Report
