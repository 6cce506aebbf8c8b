"""The Neumann series, for A + δI with eigenvalues in (0, 2/η). Each term takes one product.

    q = η Σ_k (I - η(A + δI))^k b        (I - η(A + δI))^k b is the residual of the sum of the terms before

With η = 1 and A = (I - ∂T)ᵀ this is the fixed-point iteration u ← v + ∂Tᵀu.
Source: Lorraine et al., AISTATS 2020, arXiv 1911.02590, algorithm 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ...autodiff.vectors import Vector, dot, norm
from ...declare.options import option, read_options
from .base import LinearSolve, LinearSolver, Product, computed, epsilon, residual, ridged, with_true_residual


@dataclass(frozen=True)
class Options:
    max_terms: int = option(100, ge=1, doc="terms at most")
    step_size: float = option(1.0, gt=0, doc="η")
    tolerance: float | None = option(1e-6, gt=0, lt=1, doc="relative residual at which the series ends")
    ridge: float = option(0.0, ge=0, doc="δ")


def neumann_term(
    term: Vector, total: Vector, Hterm: Vector, eta: float, damping: float
) -> tuple[Vector, Vector, float]:
    """term' = (1 - ηδ) term - η ∇²ψ·term, total + term'; ‖term'‖²"""
    term = (1 - eta * damping) * term - eta * Hterm
    return term, total + term, dot(term, term)


def neumann(
    max_terms: int = 100,
    step_size: float = 1.0,
    tolerance: float | None = 1e-6,
    ridge: float = 0.0,
    *,
    step: Callable[..., tuple[Any, ...]] = neumann_term,
    check: bool = True,
) -> LinearSolver:
    """The Neumann series.

    Args:
        max_terms: the largest number of terms. Each takes one product, except the first.
        step_size: η > 0.
        tolerance: the relative residual at which the series ends, in (0, 1). None asks for exactly `max_terms` terms;
            such a series is doubtful only if it diverges.
        ridge: δ >= 0, which is added to the diagonal of A.
        step: computes the same as `neumann_term`, for example by a kernel.
        check: whether to spend one product on the true residual. Otherwise the report has the norm of the last term,
            which is the residual of the sum without that term.

    Raises:
        OptionError: a value is out of range.
    """
    values = {"max_terms": max_terms, "step_size": step_size, "tolerance": tolerance, "ridge": ridge}
    o = read_options(Options, values, "neumann")

    def run(product: Product, b: Vector, _: Product | None) -> tuple[Vector, LinearSolve]:
        term = total = b
        size = last = smallest = norm(b)
        best, growth, k = b.zeros(), 0.0, 0
        stopped = "terms" if o.tolerance is None else "max_iterations"
        for k in range(o.max_terms):
            if k > 0:
                before, (term, total, square) = total, step(term, total, product(term), o.step_size, o.ridge)
                computed(term, total)
                new = math.sqrt(square)
                growth, last = max(growth, new / last if last else 0.0), new
                if last < smallest:
                    best, smallest = before, last
            if not math.isfinite(last):
                stopped = "not finite"
                break
            if o.tolerance is not None and last <= o.tolerance * size:
                stopped = "tolerance"
                break
            if o.tolerance is not None and last * epsilon(b) > size:  # the sum has lost all digits of b
                stopped = "diverged"
                break
        if o.tolerance is not None and smallest < last:
            stopped, total = "diverged", best
        q = o.step_size * total
        solve = LinearSolve("neumann", k, last / size, stopped, growth=growth)
        if not check:
            return q, solve
        matrix = ridged(product, o.ridge)
        if o.tolerance is None:  # the caller asked for this many terms, whatever their residual
            return q, replace(solve, residual=residual(matrix, q, b))
        return with_true_residual(solve, o.tolerance, matrix, q, b)

    return LinearSolver("neumann", o, run)
