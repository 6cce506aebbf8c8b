"""The series of numbers that a run recorded: losses, the hypergradient's norm, evaluations, figures of operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from ..observers.curves import report_curves
from .charts import Value, number
from .runs import RecordedRun

#: How a run records what strict JSON has no number for.
NOT_FINITE = ("nan", "inf", "-inf")


@dataclass(frozen=True)
class Series:
    """Numbers by outer step.

    Args:
        iterations: the outer steps, from 0.
        values: one number for each, None where the recorded one is not finite.
    """

    iterations: list[int]
    values: list[Value]


def losses(run: RecordedRun, level: str) -> Series:
    """Return the losses of one level, "upper" or "lower"."""
    return _series(run.steps, lambda line: line.get(f"{level}_loss"))


def hypergradient_norms(run: RecordedRun) -> Series:
    return _series(run.steps, lambda line: line.get("report", {}).get("hypergradient_norm"))


def seconds(run: RecordedRun) -> list[float]:
    """Return the seconds that the outer steps had taken after each of them, compiling and evaluations included."""
    return list(accumulate(number(line.get("seconds")) or 0.0 for line in run.steps))


def evaluation_names(run: RecordedRun) -> list[str]:
    return list(dict.fromkeys(name for line in run.evaluations for name in line if name != "iteration"))


def evaluations(run: RecordedRun, name: str) -> Series:
    """Return one number of the problem's `evaluate`."""
    return _series([line for line in run.evaluations if name in line], lambda line: line[name])


def figures(run: RecordedRun) -> dict[str, Series]:
    """Return the numbers in the reports of the operations, as "CG: iterations". With tasks each is their mean."""
    lines = [(line["iteration"], report_curves(_operations(line), ": ")) for line in run.steps]
    names = dict.fromkeys(name for _, curves in lines for name in curves)
    return {
        name: Series(
            [iteration for iteration, curves in lines if name in curves],
            [number(curves[name]) for _, curves in lines if name in curves],
        )
        for name in names
    }


def words(run: RecordedRun) -> dict[str, dict[str, int]]:
    """Return the texts in the reports of the operations, as "CG: stopped", and how often each occurs."""
    counts: dict[str, dict[str, int]] = {}
    for line in run.steps:
        for operation, values in line.get("report", {}).get("operations", {}).items():
            for name, value in values.items():
                for text in value if isinstance(value, list) else [value]:
                    if isinstance(text, str) and text not in NOT_FINITE:
                        of_name = counts.setdefault(f"{operation}: {name}", {})
                        of_name[text] = of_name.get(text, 0) + 1
    return counts


def _operations(line: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the reports of the operations of one step, with NaN and infinities as numbers again."""
    operations = line.get("report", {}).get("operations", {})
    return {
        operation: {name: _with_numbers(value) for name, value in values.items()}
        for operation, values in operations.items()
    }


def _with_numbers(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_numbers(entry) for entry in value]
    return float(value) if isinstance(value, str) and value in NOT_FINITE else value


def _series(lines: list[dict[str, Any]], value: Callable[[dict[str, Any]], Any]) -> Series:
    return Series([line["iteration"] for line in lines], [number(value(line)) for line in lines])
