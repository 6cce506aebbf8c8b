"""The numbers of a step by the names that curves have: `loss/upper`, `hypergradient_norm`, `report/CG/iterations`."""

from __future__ import annotations

from numbers import Real
from typing import Any


def step_curves(step: Any) -> dict[str, float]:
    """Return losses, norm, and every figure of the operations' reports that is a number."""
    found = {
        "loss/upper": float(step.upper_loss),
        "loss/lower": float(step.lower_loss),
        "hypergradient_norm": float(step.report.hypergradient_norm),
    }
    for operation, figures in step.report.operations.items():
        for name, value in figures.items():
            # With tasks a figure is a list by task, and its curve the mean of those that have it.
            numbers = [float(one) for one in (value if isinstance(value, list) else [value]) if _is_number(one)]
            if numbers:
                found[f"report/{operation}/{name}"] = sum(numbers) / len(numbers)
    return found


def evaluation_curves(numbers: dict[str, float]) -> dict[str, float]:
    """Return the problem's own numbers."""
    return {f"evaluation/{name}": value for name, value in numbers.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
