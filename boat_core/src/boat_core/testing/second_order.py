"""The test that earns a place among the twice differentiable operators, see `boat_core.twice_differentiable`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autodiff import arrays
from ..autodiff.evaluation import evaluating
from ..autodiff.vectors import Vector
from ..bilevel.gradcheck import relative_errors


def assert_twice_differentiable(function: Callable[..., Any], *inputs: Any, tolerance: float = 1e-6) -> None:
    """Assert that `function(*inputs)` has right first and second derivatives with respect to all its inputs.

    The function takes arrays and returns one; inputs are numpy or Jittor arrays of floats, best small and random. In
    float64 ⟨w, out + out²/2⟩ with a random w is differentiated twice in two random directions and compared with central
    differences at several h. (The square matters: Jittor loses the second derivative *through* an operator, and with
    ⟨w, out⟩ alone a linear one, such as average pooling, would never be found out.)

    Raises:
        AssertionError: a derivative is off by more than `tolerance`, relative; the message says which and by how much.
    """
    rng = np.random.default_rng(0)
    x = Vector.of([arrays.to_numpy(leaf).astype(np.float64) for leaf in inputs], "inputs")
    nothing = Vector.of(np.zeros(1), "unused")
    weights: list[Any] = []

    def objective(at: Vector, _: Vector, __: int) -> Any:
        with evaluating(native=True, differentiated=True):
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
