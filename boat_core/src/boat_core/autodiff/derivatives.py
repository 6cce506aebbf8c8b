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
from .arrays import Array
from .backend import jt
from .captured import refuse
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


def gradient(value: Array, wrt: Sequence[Array]) -> list[Array]:
    """Return ∇ value with respect to each array, zeros if it does not depend on one. `value` must hold one number."""
    for counter in _counters:
        counter.gradients += 1
    return differentiable_gradient(jt.grad, value, list(wrt))


def differentiable_gradient(grad: Callable[..., list[Array]], value: Array, wrt: list[Array]) -> list[Array]:
    """Return ∇ value by `grad`, which is Jittor's, but with sums of many float32 numbers in float64.

    Jittor makes such a sum for whatever was repeated, such as a bias. Without the library of operators it stays so.
    """
    refuse(value, wrt)
    operators = library.operators()
    if operators is None:
        return grad(value, wrt, retain_graph=True)
    gradients: list[Array] = operators.gradient(value, wrt)
    return gradients


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
    return [array.detach() for array in jt.grad(inner(outputs, fixed), list(wrt), retain_graph=True)]


def inner(a: Sequence[Array], b: Sequence[Array]) -> Array:
    """Return ⟨a, b⟩ summed over all arrays, as an array that holds one number."""
    total = reductions.total(a[0] * b[0])
    for left, right in zip(a[1:], b[1:]):
        total = total + reductions.total(left * right)
    return total
