"""Gradients and products with second derivatives, all by reverse mode, counted as they are taken.

gradient            ∇_v s
vector-Jacobian     pᵀ ∂out/∂v = ∇_v ⟨out, p⟩
Hessian-vector      ∇²_vv s · p = ∇_v ⟨∇_v s, p⟩        (reverse over reverse)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .backend import jt
from .operators import library


@dataclass
class Counter:
    """Derivatives taken: `gradients` of an objective, `hvps` products with second derivatives."""

    gradients: int = 0
    hvps: int = 0


_counters: list[Counter] = []


@contextmanager
def counting() -> Iterator[Counter]:
    """Count the derivatives taken inside, as `boat_core.Cost` counts them."""
    counter = Counter()
    _counters.append(counter)
    try:
        yield counter
    finally:
        _counters.remove(counter)


def gradient(value: Any, wrt: Sequence[Any]) -> list[Any]:
    """Return ∇ value with respect to each array; zeros where it does not depend on one. `value` holds one number."""
    for counter in _counters:
        counter.gradients += 1
    return jt.grad(value, list(wrt), retain_graph=True)


def pull(outputs: Sequence[Any], cotangents: Sequence[Any], wrt: Sequence[Any], second_order: bool = True) -> list[Any]:
    """Return Σ ⟨outputs, cotangents⟩ differentiated with respect to each array, detached.

    Where the outputs are gradients themselves this is one product with second derivatives. Cotangents are constants,
    also where they were computed from the very arrays that are differentiated (the Hessian times y itself, say).
    `second_order` says whether the outputs hold gradients, for those who count.
    """
    if second_order:
        for counter in _counters:
            counter.hvps += 1
    operators = library.operators()
    if operators is not None and not jt.flags.amp_reg:
        return operators.pull(list(outputs), list(cotangents), list(wrt))
    fixed = [cotangent.detach() for cotangent in cotangents]
    return [array.detach() for array in jt.grad(inner(outputs, fixed), list(wrt), retain_graph=True)]


def inner(a: Sequence[Any], b: Sequence[Any]) -> Any:
    """Return ⟨a, b⟩ summed over all arrays, as an array that holds one number."""
    total = (a[0] * b[0]).sum()
    for left, right in zip(a[1:], b[1:]):
        total = total + (left * right).sum()
    return total
