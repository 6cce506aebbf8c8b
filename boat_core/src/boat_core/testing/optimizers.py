"""What is asked of every optimizer that solvers step and differentiate."""

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
    """Hold an optimizer to what solvers rely on, over some steps with a gradient that is not linear.

    - The derivative of its iterates with respect to the start is that of central differences, through its state too.
    - Derivatives at a gradient of zero are finite.
    - The same step gives the same bits, and changes nothing that it is given.
    - Updates and state keep structure, shapes and dtypes, in float32 as in float64.
    - A gradient that is NaN leaves a trace.

    Raises:
        AssertionError: with what is wrong.
    """

    def end(start: Any) -> Any:
        def step(t: int, z: Any, x: Any) -> Any:
            updates, state = optimizer.update(_gradient(z[0], t), z[1], z[0])
            return apply_updates(z[0], updates), state

        start = _read(start, "float64")
        return unroll(step, (start, optimizer.init(start)), None, steps, second_order_guard="off")

    found = end(START)
    cotangent = (_read(WEIGHTS, "float64"), optree.tree_map(_zeros, found.end[1]))
    (of_y, _), _ = found.pullback(cotangent)
    truth = central_differences(lambda start: float(flat(WEIGHTS) @ flat(end(start).end[0])), START)
    assert_close(of_y, truth, tolerance)
    _check_zero_gradient(optimizer)
    for dtype in ("float64", "float32"):
        _check_one_step(optimizer, dtype)


def _gradient(y: Any, t: int) -> Any:
    """Of both signs, and never small."""
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
    for name, found in (("first", first), ("second", second)):
        assert np.isfinite(flat(found)).all(), f"{optimizer.name}: {name} derivatives at a zero gradient: {flat(found)}"


def _check_one_step(optimizer: Optimizer, dtype: str) -> None:
    y = _read(START, dtype)
    given = (_gradient(y, 0), optimizer.init(y), y)
    before = [arrays.to_numpy(leaf) for leaf in float_leaves(given)]
    once, again = (optimizer.update(*given) for _ in range(2))
    after = [arrays.to_numpy(leaf) for leaf in float_leaves(given)]
    assert all(map(np.array_equal, before, after)), f"{optimizer.name}: update changed what it was given"
    assert np.array_equal(flat(float_leaves(once)), flat(float_leaves(again))), f"{optimizer.name}: two updates differ"
    for what, found, like in (("updates", once[0], y), ("state", once[1], given[1])):
        kinds = [optree.tree_structure(tree) for tree in (found, like)]
        assert kinds[0] == kinds[1], f"{optimizer.name}: {what} of structure {kinds[0]}, expected {kinds[1]}"
        for one, want in zip(float_leaves(found), float_leaves(like)):
            said = [f"{list(a.shape)} {a.dtype}" for a in (one, want)]
            assert said[0] == said[1], f"{optimizer.name}: {what} of {said[0]}, expected {said[1]}"
    nan = {**given[0], "b": given[0]["b"] * arrays.constant(float("nan"), given[0]["b"])}
    traces = float_leaves(optimizer.update(nan, given[1], y))
    assert np.isnan(flat(traces)).any(), f"{optimizer.name}: a gradient that is NaN is lost"
