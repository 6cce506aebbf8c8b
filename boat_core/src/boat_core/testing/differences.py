"""An independent derivative: central differences of F(x, y_T(x)), which treat the solver as a black box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..autodiff import arrays
from ..autodiff.vectors import Vector
from ..bilevel.problem import Problem
from ..bilevel.solver import Solver


def upper_value(problem: Problem, x: Any, batches: tuple[Any, Any] = (None, None), **solver: Any) -> float:
    """Return F(x, y_T(x)) for a pytree x. One outer step of `Solver(problem, **solver)` computes y_T."""
    return Solver(replace(problem, upper=x), **solver).step(*batches).upper_loss


def central_differences(value: Callable[[Any], float], x: Any, h: float = 1e-5) -> np.ndarray:
    """Differentiate `value(pytree)` entry by entry at the float64 pytree x, and return one flat vector."""
    vector = Vector.of(x, "x")
    result = []
    for i, leaf in enumerate(vector.leaves):
        base = arrays.to_numpy(leaf)
        for index in np.ndindex(base.shape):
            ends = []
            for sign in (1, -1):
                moved = base.copy()
                moved[index] += sign * h
                leaves = list(vector.leaves)
                leaves[i] = arrays.as_array(moved)
                ends.append(value(vector.like(leaves).tree))
            result.append((ends[0] - ends[1]) / (2 * h))
    return np.array(result)
