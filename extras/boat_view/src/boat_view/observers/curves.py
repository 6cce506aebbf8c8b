"""The numbers of a step under the names of their curves: `loss/upper`, `hypergradient_norm`, `report/CG/iterations`."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any


def step_curves(step: Any) -> dict[str, float]:
    """Return the losses, the norm of the hypergradient, and every number in the reports of the operations."""
    curves = {
        "loss/upper": float(step.upper_loss),
        "loss/lower": float(step.lower_loss),
        "hypergradient_norm": float(step.report.hypergradient_norm),
    }
    return curves | {f"report/{name}": value for name, value in report_curves(step.report.operations).items()}


def report_curves(operations: Mapping[str, Mapping[str, Any]], separator: str = "/") -> dict[str, float]:
    """Return every number in the reports of the operations, by the name of the operation and that of the figure."""
    curves = {}
    for operation, figures in operations.items():
        for name, value in figures.items():
            # With tasks a figure is a list with one entry for each task. Its curve is the mean over those that have it.
            entries = value if isinstance(value, list) else [value]
            numbers = [float(entry) for entry in entries if _is_number(entry)]
            if numbers:
                curves[f"{operation}{separator}{name}"] = sum(numbers) / len(numbers)
    return curves


def evaluation_curves(numbers: dict[str, float]) -> dict[str, float]:
    """Return the numbers of the problem's own evaluation."""
    return {f"evaluation/{name}": value for name, value in numbers.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
