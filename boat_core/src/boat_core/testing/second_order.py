"""The test that an operator must pass before `boat_core.twice_differentiable` may declare it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autodiff import arrays
from ..autodiff.evaluation import evaluating
from ..autodiff.vectors import Vector
from ..bilevel.gradcheck import relative_errors


def assert_twice_differentiable(function: Callable[..., Any], *inputs: Any, tolerance: float = 1e-6) -> None:
    """Assert that `function(*inputs)` has correct first and second derivatives with respect to all its inputs.

    The test differentiates ⟨w, out + out²/2⟩ with a random w twice, in float64 and in two random directions, and
    compares the results with central differences at several h. The square matters: Jittor loses the second derivative
    *through* an operator, and ⟨w, out⟩ alone would not detect this for a linear operator such as average pooling.

    Args:
        function: A function that takes arrays and returns one array.
        inputs: Numpy or Jittor arrays of floats. Small and random ones are best.
        tolerance: The largest relative error of a derivative.

    Raises:
        AssertionError: The relative error of a derivative exceeds `tolerance`. The message says which derivative, and
            by how much.
    """
    rng = np.random.default_rng(0)
    x = Vector.of([arrays.to_numpy(leaf).astype(np.float64) for leaf in inputs], "inputs")
    nothing = Vector.of(np.zeros(1), "unused")
    weights: list[Any] = []

    def objective(at: Vector, _: Vector, __: int) -> Any:
        with evaluating(native=True, differentiated=True, point=at.leaves):
            out = function(*at.leaves)
            if not weights:
                weights.append(arrays.as_array(rng.normal(size=tuple(out.shape))))
            return (weights[0] * (out + 0.5 * out * out)).sum()

    for _ in range(2):
        direction = x.like([arrays.as_array(rng.normal(size=tuple(leaf.shape))) for leaf in x.leaves])
        errors = relative_errors(objective, x, nothing, (direction, nothing.zeros()))
        for name, error in zip(("first", "second"), errors):
            if error > tolerance:
                raise AssertionError(
                    f"the {name} derivative is off by {error:.3g}, relative to central differences in float64 "
                    f"(tolerance {tolerance:g})"
                )
