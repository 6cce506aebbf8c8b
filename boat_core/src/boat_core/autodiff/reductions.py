"""Reductions that Jittor gets wrong: many float32 numbers, products with a zero, ties of max and min, single entries.

Each function takes Jittor's own, followed by its arguments. Where Jittor is right, values and derivatives are the same
to the last bit.

A sum of many float32 numbers is made in float64: Jittor rounds the sum after each addition, and the mean of a million
ones would be 1.009.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from math import prod
from typing import Any

from ..runtime.float64 import is_sound
from .arrays import detach, float_kind
from .backend import jt
from .operators import library

Reduction = Callable[..., Any]


def single(reduce: Reduction, x: Any, *args: Any, **keywords: Any) -> Any:
    """Reduce an array that holds one number: that number is the result.

    Jittor's compiler fails, or ends the process, where it fuses a reduction of one number with a product by another.
    """
    if not _covers(x, args, keywords):
        return reduce(x, *args, **keywords)
    dims, keepdims = _dims(x, *args, **keywords), args[1] if len(args) > 1 else keywords.get("keepdims", False)
    return x.reshape([1] * (len(x.shape) if keepdims else max(1, len(x.shape) - len(dims))))


#: Sums and means of fewer numbers stay Jittor's own to the last bit. `operators/sources/sums.h` holds the whole rule.
MANY = 4096


def accurate(reduce: Reduction, x: Any, *args: Any, **keywords: Any) -> Any:
    """Return a sum or mean of an array that holds one number or more; many float32 numbers are added in float64."""
    size = x.numel() if isinstance(x, jt.Var) else 0
    if size == 1:
        return single(reduce, x, *args, **keywords)
    result = reduce(x, *args, **keywords)
    if size < MANY or not is_sound():
        return result
    operators = library.operators()
    if operators is not None:
        return operators.widened(result)
    # Without the library nobody can tell the patterns that Jittor maps to a matrix product.
    called_by_jittor = sys._getframe(2).f_globals.get("__name__") in ("jittor.nn", "jittor.linalg")
    if called_by_jittor or not float_kind(result) or str(x.dtype) == "float64" or result.numel() * 32 > size:
        return result
    return reduce(x.float64(), *args, **keywords).cast(str(result.dtype))


def total(x: Any) -> Any:
    """Return Σ x, also outside an objective, where nobody replaces Jittor's own sum."""
    return accurate(jt.Var.sum, x) if x.numel() >= MANY else x.sum()


def product(reduce: Reduction, x: Any, *args: Any, **keywords: Any) -> Any:
    """Return Π x with derivatives of every order, also if entries are zero.

    Jittor's derivative is Π x / x_i, which is 0 / 0 at a zero. Here Π x is the product of two parts. In one, zeros
    are replaced by ones, so that Jittor's derivative is right. The other is the product of the zeros themselves (or of
    ones, where there are none), by multiplying halves with each other.
    """
    if not _covers(x, args, keywords) or x.numel() == 1:
        return single(reduce, x, *args, **keywords)
    zero, one = x == jt.zeros_like(x), jt.ones_like(x)
    others = reduce(jt.ternary(zero, one, x), *args, **keywords)
    zeros = _rows(jt.ternary(zero, x, one), *args, **keywords)
    while zeros.shape[1] > 1:
        half = zeros.shape[1] // 2
        halves = zeros[:, :half] * zeros[:, half : 2 * half]
        zeros = jt.concat([halves, zeros[:, 2 * half :]], dim=1) if zeros.shape[1] % 2 else halves
    return others * zeros.reshape(others.shape)


def extremum(reduce: Reduction, x: Any, *args: Any, **keywords: Any) -> Any:
    """Return the max or min of x. Where k entries tie, the derivative with respect to each is 1/k; Jittor's is 1."""
    if not _covers(x, args, keywords) or x.numel() == 1:
        return single(reduce, x, *args, **keywords)
    best = reduce(x, *args, **keywords)
    fixed, dims = detach(x), _dims(x, *args, **keywords)
    value = detach(best)
    kept = [1 if axis in dims else size for axis, size in enumerate(x.shape)]
    ties = (fixed == value.reshape(kept).broadcast(x.shape)).cast(str(x.dtype)).sum(dims, keepdims=True)
    ties = detach(ties.reshape(best.shape))
    # The value stays `best`, and its cotangent is divided by k. Where nothing ties, so is that of infinities, whose
    # difference would be NaN.
    one = jt.ones_like(ties)
    divided = value + (best - value) / jt.maximum(ties, one)
    return jt.ternary(ties > one, divided, best)


def _covers(x: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> bool:
    if not isinstance(x, jt.Var) or not float_kind(x) or x.is_stop_grad() or not x.numel():
        return False
    return len(args) <= 2 and keywords.keys() <= {"dim", "dims", "keepdims"}


def _dims(x: Any, dim: Any = None, keepdims: Any = False, *, dims: Any = None) -> list[int]:
    """Return the axes over which a reduction goes, as Jittor reads its arguments."""
    dim = dims if dim is None else dim
    rank = len(x.shape)
    axes = range(rank) if dim is None else [dim] if isinstance(dim, int) else dim
    return sorted({axis % rank for axis in axes}) or list(range(rank))


def _rows(x: Any, *args: Any, **keywords: Any) -> Any:
    """Return x as a matrix with the entries of one reduction in each row."""
    dims = _dims(x, *args, **keywords)
    others = [axis for axis in range(len(x.shape)) if axis not in dims]
    size = prod(x.shape[axis] for axis in dims)
    return (x.transpose([*others, *dims]) if others else x).reshape((-1, size))
