"""The numbers of a step by the names that curves have: `loss/upper`, `hypergradient_norm`, `report/CG/iterations`."""

from __future__ import annotations

from numbers import Real
from typing import Any


def step_curves(step: Any) -> dict[str, float]:
    """Return the losses, the norm, and every figure in the reports of the operations that is a number."""
    curves = {
        "loss/upper": float(step.upper_loss),
        "loss/lower": float(step.lower_loss),
        "hypergradient_norm": float(step.report.hypergradient_norm),
    }
    for operation, figures in step.report.operations.items():
        for name, value in figures.items():
            # With tasks, a figure is a list by task. Its curve is the mean over the tasks that have it.
            numbers = [float(one) for one in (value if isinstance(value, list) else [value]) if _is_number(one)]
            if numbers:
                curves[f"report/{operation}/{name}"] = sum(numbers) / len(numbers)
    return curves


def evaluation_curves(numbers: dict[str, float]) -> dict[str, float]:
    """Return the numbers that the problem computes itself."""
    return {f"evaluation/{name}": value for name, value in numbers.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
