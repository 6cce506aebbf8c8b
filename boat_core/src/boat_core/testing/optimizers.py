"""The properties that solvers require of an optimizer which they step and differentiate."""

from __future__ import annotations

from typing import Any

import numpy as np
import optree

from ..autodiff import arrays, derivatives
from ..autodiff.pytrees import float_leaves
from ..differentiation.explicit import unroll
from ..optimizers.base import Optimizer, apply_updates
from .differences import central_differences
from .values import assert_close, flat

START = {"a": np.array([1.0, -2.0, 0.5]), "b": np.array([0.7])}
WEIGHTS = {"a": np.array([1.0, 0.3, -0.8]), "b": np.array([2.0])}


def check_optimizer(optimizer: Optimizer, steps: int = 4, tolerance: float = 1e-6) -> None:
    """Check that an optimizer has the properties on which solvers rely, over some steps with a nonlinear gradient.

    - The derivative of its iterates with respect to the start agrees with central differences, also through its state.
    - Derivatives at a gradient of zero are finite.
    - Equal steps give equal bits, and a step does not change its inputs.
    - Updates and state keep structure, shapes and dtypes, in float32 and in float64.
    - A NaN in the gradient reaches the updates or the state.

    Args:
        optimizer: The optimizer to check.
        steps: How many steps the iterates take.
        tolerance: The largest relative error of the derivative.

    Raises:
        AssertionError: The optimizer lacks one of these properties. The message says which.
    """

    def end(start: Any) -> Any:
        def step(t: int, z: Any, x: Any) -> Any:
            updates, state = optimizer.update(_gradient(z[0], t), z[1], z[0])
            return apply_updates(z[0], updates), state

        start = _read(start, "float64")
        return unroll(step, (start, optimizer.init(start)), None, steps, second_order_guard="off")

    unrolling = end(START)
    cotangent = (_read(WEIGHTS, "float64"), optree.tree_map(_zeros, unrolling.end[1]))
    (of_y, _), _ = unrolling.pullback(cotangent)
    truth = central_differences(lambda start: float(flat(WEIGHTS) @ flat(end(start).end[0])), START)
    assert_close(of_y, truth, tolerance)
    _check_zero_gradient(optimizer)
    for dtype in ("float64", "float32"):
        _check_one_step(optimizer, dtype)


def _gradient(y: Any, t: int) -> Any:
    """Return a gradient whose entries have both signs and are never small."""
    return optree.tree_map(lambda a: a + a * a * arrays.constant(0.1, a) + arrays.constant(0.5 * (-1) ** t, a), y)


def _read(tree: Any, dtype: str) -> Any:
    return optree.tree_map(lambda a: arrays.as_array(arrays.to_numpy(a).astype(dtype)), tree)


def _zeros(leaf: Any) -> Any:
    return arrays.zeros_like(leaf) if arrays.is_array(leaf) else None


def _check_zero_gradient(optimizer: Optimizer) -> None:
    y = _read(START, "float64")
    g, state = optree.tree_map(arrays.zeros_like, y), optimizer.init(y)
    inputs = [*float_leaves(g), *float_leaves(y), *float_leaves(state)]
    out = float_leaves(optimizer.update(g, state, y))
    first = derivatives.gradient(derivatives.inner(out, [one + arrays.constant(1.0, one) for one in out]), inputs)
    second = derivatives.gradient(derivatives.inner(first, first), inputs)
    for name, values in (("first", flat(first)), ("second", flat(second))):
        assert np.isfinite(values).all(), f"{optimizer.name}: {name} derivatives at a zero gradient: {values}"


def _check_one_step(optimizer: Optimizer, dtype: str) -> None:
    y = _read(START, dtype)
    inputs = (_gradient(y, 0), optimizer.init(y), y)
    before = [arrays.to_numpy(leaf) for leaf in float_leaves(inputs)]
    once, again = (optimizer.update(*inputs) for _ in range(2))
    after = [arrays.to_numpy(leaf) for leaf in float_leaves(inputs)]
    assert all(map(np.array_equal, before, after)), f"{optimizer.name}: update changed its inputs"
    assert np.array_equal(flat(float_leaves(once)), flat(float_leaves(again))), f"{optimizer.name}: two updates differ"
    for name, result, like in (("updates", once[0], y), ("state", once[1], inputs[1])):
        structure, expected = optree.tree_structure(result), optree.tree_structure(like)
        assert structure == expected, f"{optimizer.name}: {name} of structure {structure}, expected {expected}"
        for leaf, want in zip(float_leaves(result), float_leaves(like)):
            kinds = [f"{list(array.shape)} {array.dtype}" for array in (leaf, want)]
            assert kinds[0] == kinds[1], f"{optimizer.name}: {name} of {kinds[0]}, expected {kinds[1]}"
    nan = {**inputs[0], "b": inputs[0]["b"] * arrays.constant(float("nan"), inputs[0]["b"])}
    traces = float_leaves(optimizer.update(nan, inputs[1], y))
    assert np.isnan(flat(traces)).any(), f"{optimizer.name}: a gradient that is NaN is lost"
