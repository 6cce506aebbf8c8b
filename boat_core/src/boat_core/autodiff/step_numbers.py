"""Numbers that depend on the number of the lower step, in a trace: GDA's weights, Adam's 1 - βᵗ, schedules.

A `StepNumber` acts like the number that it is, and knows how to find itself at any other step. Arithmetic with numbers
gives another one. Where it meets an array or a kernel, it enters the graph as a mark: a number that stands nowhere else
and that nothing computes with. The program finds the marks, and before each step it writes the numbers of that step
there.

Whoever looks at the number (a comparison, `float`, an index) can do what no formula tells. The trace notes that,
and the step is not made a program.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from .backend import jt


class Marks:
    """The marks of one trace.

    Attributes:
        formulas: for each mark, the number that belongs there as a function of t.
        read: whether somebody looked at a number.
    """

    def __init__(self, series: int) -> None:
        """`series` tells traces apart: their marks differ."""
        self.formulas: dict[float, Callable[[int], float]] = {}
        self.read = False
        self._series = series

    def new(self, formula: Callable[[int], float]) -> float:
        """Return a mark for a formula.

        The value is exact in float32, none of those that Jittor makes part of a kernel, and smaller than any that
        objectives are written with.
        """
        place = 1 + 2 * len(self.formulas) + self._series
        mark = math.ldexp(1.0 + place * 2.0**-20, -101)
        self.formulas[mark] = formula
        return mark


class StepNumber:
    """A number as a function of the step; see the module.

    Args:
        marks: those of the trace.
        at: the number at step t.
        t: the step that is traced.
    """

    __slots__ = ("_marks", "_t", "at")

    def __init__(self, marks: Marks, at: Callable[[int], Any], t: int) -> None:
        self._marks, self.at, self._t = marks, at, t

    def map(self, function: Callable[[Any], Any]) -> StepNumber:
        """Return the function of this number, which is called with plain numbers."""
        return StepNumber(self._marks, lambda t: function(self.at(t)), self._t)

    def mark(self) -> float:
        """Return what stands for this number in the graph.

        Jittor has kernels of its own for integers, such as that of a square: those do not count as understood.
        """
        self._marks.read |= type(self.at(self._t)) is not float
        return self._marks.new(self.at)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """What `isinstance` sees: the type of the number."""
        return type(self.at(self._t))


def is_step_number(value: Any) -> bool:
    """Whether a number is one of a trace. (`isinstance` sees the type of the number itself.)"""
    return type(value) is StepNumber


def entering(value: Any) -> Any:
    """Return a number as it is to enter a graph."""
    return value.mark() if type(value) is StepNumber else value


def _arithmetic(function: Callable[[Any, Any], Any], swapped: bool) -> Any:
    def method(self: StepNumber, other: Any) -> Any:
        if type(other) is StepNumber:
            left, right = (other, self) if swapped else (self, other)
            return StepNumber(self._marks, lambda t: function(left.at(t), right.at(t)), self._t)
        if isinstance(other, jt.Var):
            return function(other, self.mark()) if swapped else function(self.mark(), other)
        if not isinstance(other, (int, float)):
            return NotImplemented  # a `Vector` knows what to do
        return self.map((lambda n: function(other, n)) if swapped else (lambda n: function(n, other)))

    return method


def _of_one(function: Callable[[Any], Any]) -> Any:
    return lambda self: self.map(function)


def _looking(name: str) -> Any:
    def method(self: StepNumber, *others: Any) -> Any:
        self._marks.read = True
        return getattr(self.at(self._t), name)(*others)

    return method


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    setattr(StepNumber, f"__{_name}__", _arithmetic(getattr(operator, _name), swapped=False))
    setattr(StepNumber, f"__r{_name}__", _arithmetic(getattr(operator, _name), swapped=True))
for _name in ("neg", "pos", "abs"):
    setattr(StepNumber, f"__{_name}__", _of_one(getattr(operator, _name)))
for _name in (
    *("eq", "ne", "lt", "le", "gt", "ge", "bool", "hash", "int", "float", "index", "str", "repr", "format"),
    *("round", "trunc", "floor", "ceil", "divmod", "rdivmod", "and", "rand", "or", "ror", "xor", "rxor", "invert"),
    *("lshift", "rlshift", "rshift", "rrshift"),
):
    setattr(StepNumber, f"__{_name}__", _looking(f"__{_name}__"))
