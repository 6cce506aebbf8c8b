"""Checks an objective's derivatives against central differences in float64, leaf by leaf.

    first      ⟨∇s, v⟩     against   (s(z + hv) - s(z - hv)) / 2h
    second     ∇²s · v     against   (∇s(z + hv) - ∇s(z - hv)) / 2h

Each leaf of x and y is moved in two random directions with several step sizes h. The best h counts: right derivatives
agree to 1e-7 or better at some h, wrong derivatives at none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import optree

from ..autodiff import arrays, derivatives
from ..autodiff.pytrees import as_arrays
from ..autodiff.vectors import Vector, dot, gradients, norm
from .objectives import Bilevel, check_reproducible, prepare_batch
from .problem import PerStep, Problem

STEPS = (1e-3, 1e-4, 1e-5, 1e-6)
TOLERANCE = 1e-5


def check_problem(
    problem: Problem, lower_batch: Any, upper_batch: Any, seed: int = 0, operators: str = "native"
) -> list[dict[str, Any]]:
    """Check F and f at the problem's start; one JSON-ready row per objective, derivative and leaf.

    A row holds objective ("upper", "lower"), derivative ("first", "second"), leaf, error (relative), tolerance, ok.
    Everything is computed in float64, whatever the problem's dtypes, with the solver's choice of `operators`.

    Raises:
        ObjectiveError: an objective does not return one reproducible floating-point number.
    """
    if isinstance(lower_batch, PerStep):
        lower_batch = lower_batch.batches[0]
    x, y = (Vector.of(_in_float64(v, name), name) for v, name in ((problem.upper, "upper"), (problem.lower, "lower")))
    lower = prepare_batch(_in_float64(lower_batch, "lower_batch"), "lower_batch", 1)
    upper = prepare_batch(_in_float64(upper_batch, "upper_batch"), "upper_batch", 1)
    bilevel = Bilevel(problem, lower, upper, 1, native=operators == "native")
    check_reproducible(bilevel, x, y)
    rng = np.random.default_rng(seed)
    rows = []
    for name, objective in (("upper", bilevel.upper), ("lower", bilevel.lower)):
        for leaf, directions in _directions(x, y, rng):
            errors = [relative_errors(objective, x, y, v) for v in directions]
            for derivative, error in zip(("first", "second"), (max(e) for e in zip(*errors))):
                ok = error <= TOLERANCE
                row = {"objective": name, "derivative": derivative, "leaf": leaf}
                rows.append(row | {"error": error, "tolerance": TOLERANCE, "ok": ok})
    return rows


def _in_float64(tree: Any, where: str) -> Any:
    def convert(leaf: Any) -> Any:
        if not arrays.is_array(leaf):
            return leaf
        values = arrays.to_numpy(leaf)
        return values.astype(np.float64) if values.dtype.kind == "f" else values

    return optree.tree_map(convert, as_arrays(tree, where))


def _directions(x: Vector, y: Vector, rng: np.random.Generator) -> Iterator[tuple[str, list[tuple[Vector, Vector]]]]:
    """Yield each leaf's name with two directions in (x, y) that move that leaf alone."""
    for name, moved, other in (("upper", x, y), ("lower", y, x)):
        for i, path in enumerate(moved.paths):
            pairs = []
            for _ in range(2):
                leaves = list(moved.zeros().leaves)
                leaves[i] = arrays.as_array(rng.normal(size=tuple(leaves[i].shape)))
                v = moved.like(leaves)
                pairs.append((v, other.zeros()) if moved is x else (other.zeros(), v))
            yield name + path, pairs


def relative_errors(
    objective: Callable[..., Any], x: Vector, y: Vector, v: tuple[Vector, Vector]
) -> tuple[float, float]:
    """Return the relative errors of the first and the second derivative of an objective in the direction v = (vx, vy).

    Each is the least over the step sizes h of the central differences: right derivatives agree at some h.
    """
    vx, vy = v
    x, y = x.detach(), y.detach()
    gx, gy = gradients(objective(x, y, 0), x, y)
    slope = dot(gx, vx) + dot(gy, vy)
    product = derivatives.vjp(gx.leaves + gy.leaves, vx.leaves + vy.leaves, x.leaves + y.leaves)
    hx, hy = x.like(product[: len(x.leaves)]), y.like(product[len(x.leaves) :])
    size = math.hypot(norm(hx), norm(hy))

    first, second = [], []
    for h in STEPS:
        values, ends = [], []
        for sign in (1, -1):
            xs, ys = (x + sign * h * vx).detach(), (y + sign * h * vy).detach()
            value = objective(xs, ys, 0)
            values.append(arrays.scalar(value))
            ends.append(gradients(value, xs, ys))
        first.append(_relative(abs((values[0] - values[1]) / (2 * h) - slope), abs(slope)))
        dx, dy = ((a - b) / (2 * h) for a, b in zip(*ends))
        second.append(_relative(math.hypot(norm(dx - hx), norm(dy - hy)), size))
    return min(first), min(second)


def _relative(difference: float, size: float) -> float:
    """|difference| relative to `size`; absolute where the derivative itself is (nearly) zero."""
    error = difference / max(size, 1e-3)
    return error if math.isfinite(error) else math.inf
