"""The rounds of one cell: all systems run in turns, each in a fresh process."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from systems import REFERENCE, CellFailed, System

ROUNDS, REPETITIONS = 3, 7
#: The largest difference to the reference in float64, relative to the largest entry.
TOLERANCES = {"float32": 1e-3, "float64": 1e-5}


@dataclass(frozen=True)
class Cell:
    """One size of a work."""

    work: str
    steps: int
    width: int = 1

    def arguments(self, dtype: str, repetitions: int) -> tuple[str, ...]:
        return self.work, str(self.steps), str(self.width), dtype, str(repetitions)


@dataclass
class Row:
    """The results of one system in one cell: its answers in float32, and one in float64."""

    cell: Cell
    system: System
    timed: list[dict[str, Any]] = field(default_factory=list)
    double: dict[str, Any] | None = None
    failures: dict[str, str] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)

    def ask(self, dtype: str, repetitions: int) -> None:
        """Run one more process, unless an earlier one failed."""
        if dtype in self.failures:
            return
        try:
            answer = self.system.run(*self.cell.arguments(dtype, repetitions))
        except CellFailed as error:
            self.failures[dtype] = str(error)
        else:
            if dtype == "float64":
                self.double = answer
            else:
                self.timed.append(answer)

    @property
    def times(self) -> list[float]:
        return [ms for answer in self.timed for ms in answer["ms"]]

    @property
    def ms(self) -> float | None:
        return statistics.median(self.times) if self.times else None

    @property
    def megabytes(self) -> float | None:
        return self._median("megabytes")

    @property
    def compiler_megabytes(self) -> float | None:
        """Return the megabytes that compiling left in memory, if the system can tell."""
        return self._median("compile_megabytes")

    def first(self, key: str) -> float | None:
        """Return a figure of the first process. Later processes find its compiled kernels on disk."""
        return self.timed[0][key] if self.timed else None

    def off(self, dtype: str) -> bool:
        return dtype in self.errors and not self.errors[dtype] <= TOLERANCES[dtype]

    def _median(self, key: str) -> float | None:
        values = [answer[key] for answer in self.timed if answer[key] is not None]
        return statistics.median(values) if values else None


def play(cell: Cell, systems: Sequence[System], rounds: int, repetitions: int) -> list[Row]:
    """Return a row for each system that supports the work, and for each system that cannot run at all."""
    rows = [Row(cell, system) for system in systems if cell.work in system.works or system.broken]
    for number in range(rounds):
        for row in rows if number % 2 == 0 else reversed(rows):
            row.ask("float32", repetitions)
    for row in rows:
        row.ask("float64", 0)
    compare(rows)
    return rows


def compare(rows: Sequence[Row]) -> None:
    """Compare every hypergradient with the reference in float64."""
    reference = next((row.double for row in rows if row.system.label == REFERENCE), None)
    if reference is None:
        return
    for row in rows:
        for dtype, answer in (("float32", row.timed[0] if row.timed else None), ("float64", row.double)):
            if answer is not None:
                row.errors[dtype] = difference(reference["value"], answer["value"])


def difference(expected: Sequence[float], actual: Sequence[float]) -> float:
    """Return the largest difference relative to the largest entry. It is infinite without an answer."""
    if len(actual) != len(expected) or not np.isfinite(actual).all():
        return float("inf")
    return float(np.abs(np.subtract(actual, expected)).max() / np.abs(expected).max())
