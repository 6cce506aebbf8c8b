"""Takes gradients and products with second derivatives by reverse mode, and counts them.

gradient            ∇_v s
vector-Jacobian     pᵀ ∂out/∂v = ∇_v ⟨out, p⟩
Hessian-vector      ∇²_vv s · p = ∇_v ⟨∇_v s, p⟩        (reverse over reverse)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from . import reductions
from .arrays import Array, cast
from .backend import jt
from .captured import refuse
from .operands import common_dtype
from .operators import library


@dataclass
class Counter:
    """The number of derivatives taken.

    Attributes:
        gradients: gradients of an objective.
        hvps: products with second derivatives.
    """

    gradients: int = 0
    hvps: int = 0


_counters: list[Counter] = []


@contextmanager
def counting() -> Iterator[Counter]:
    """Count the derivatives that are taken inside the block, as `boat_core.Cost` counts them."""
    counter = Counter()
    _counters.append(counter)
    try:
        yield counter
    finally:
        _counters.remove(counter)


@contextmanager
def counting_apart() -> Iterator[Counter]:
    """Count inside the block for this counter alone: a trace is not work that whoever counts outside asked for."""
    outside, counter = list(_counters), Counter()
    _counters[:] = [counter]
    try:
        yield counter
    finally:
        _counters[:] = outside


def count(done: Counter) -> None:
    """Tell everyone who counts of derivatives that were taken elsewhere, by a program."""
    for counter in _counters:
        counter.gradients += done.gradients
        counter.hvps += done.hvps


def gradient(value: Array, wrt: Sequence[Array]) -> list[Array]:
    """Return ∇ value with respect to each array, zeros if it does not depend on one. `value` must hold one number."""
    for counter in _counters:
        counter.gradients += 1
    return differentiable_gradient(jt.grad, value, list(wrt))


def differentiable_gradient(grad: Callable[..., list[Array]], value: Array, wrt: list[Array]) -> list[Array]:
    """Return ∇ value by `grad`, which is Jittor's, but with sums of many float32 numbers in float64.

    Jittor makes such a sum for whatever was repeated, such as a bias. Without the library of operators it stays so.
    Each result has the dtype of its array; Jittor alone may return float64 for a float32 one.
    """
    refuse(value, wrt)
    operators = library.operators()
    gradients = grad(value, wrt, retain_graph=True) if operators is None else operators.gradient(value, wrt)
    return [cast(one, str(array.dtype)) for one, array in zip(gradients, wrt)]


def vjp(
    outputs: Sequence[Array], cotangents: Sequence[Array], wrt: Sequence[Array], second_order: bool = True
) -> list[Array]:
    """Return the derivative of Σ ⟨outputs, cotangents⟩ with respect to each array, detached.

    If the outputs are gradients, this is one product with second derivatives.

    Args:
        outputs: arrays with their graph.
        cotangents: one array for each output. They count as constants, even if they were computed from `wrt` (as in
            the Hessian times y itself).
        wrt: the arrays with respect to which the derivative is taken.
        second_order: whether the outputs hold gradients, so that the product counts as one with second derivatives.
    """
    if second_order:
        for counter in _counters:
            counter.hvps += 1
    operators = library.operators()
    if operators is not None and not jt.flags.amp_reg:
        return operators.pull(list(outputs), list(cotangents), list(wrt))
    fixed = [cotangent.detach() for cotangent in cotangents]
    return [array.detach() for array in _grad(inner(outputs, fixed), wrt)]


def _grad(value: Array, wrt: Sequence[Array]) -> list[Array]:
    """Return Jittor's gradient, each in the dtype of its array: Jittor may return float64 for a float32 one."""
    return [cast(slope, str(array.dtype)) for slope, array in zip(jt.grad(value, list(wrt), retain_graph=True), wrt)]


def inner(a: Sequence[Array], b: Sequence[Array]) -> Array:
    """Return ⟨a, b⟩ summed over all arrays, as an array that holds one number."""
    products = [left * right for left, right in zip(a, b)]
    dtype = common_dtype(products)
    # Without the cast, Jittor adds numbers of different dtypes in the first one's.
    total = cast(reductions.total(products[0]), dtype)
    for product in products[1:]:
        total = total + cast(reductions.total(product), dtype)
    return total
