"""Conjugate gradient on the normal equations, for any A. Each iteration takes two products, one of them with Aᵀ.

    (AᵀA + δI) q = Aᵀb        that is, q minimises ‖Aq - b‖² + δ‖q‖²

    α = ⟨s, z⟩/(‖Ap‖² + δ‖p‖²)    q ← q + αp    r ← r - αAp    s = Aᵀr - δq    z = M⁻¹s    p ← z + (⟨s, z⟩/before) p

This form keeps r = b - Aq itself. It loses half as many digits as products with AᵀA would. Without a ridge the solve
ends when ‖r‖ is small, or when s is small: then b has a part outside the range of A.
Sources: Hestenes and Stiefel 1952; Björck, Numerical Methods for Least Squares Problems, SIAM 1996, section 7.4.
"""

from __future__ import annotations

import math

from ...autodiff.vectors import Vector, dot, norm
from ...declare.options import read_options
from .base import (
    Iterative,
    LinearSolve,
    LinearSolver,
    Preconditioner,
    Product,
    computed,
    epsilon,
    preconditioned,
    with_true_residual,
)


def normal_cg(
    max_iterations: int = 100,
    tolerance: float = 1e-6,
    ridge: float = 0.0,
    preconditioner: Preconditioner | None = None,
) -> LinearSolver:
    """Conjugate gradient on AᵀA, for any A. It needs products with Aᵀ too.

    Args:
        max_iterations: the largest number of iterations, each with two products.
        tolerance: the relative residual at which the solve ends, in (0, 1). With a ridge it is the residual of the
            normal equations, ‖Aᵀb - (AᵀA + δI) q‖/‖Aᵀb‖.
        ridge: Tikhonov's δ >= 0, which is added to AᵀA (not to A).
        preconditioner: maps a pytree of residuals s to M⁻¹ times it, where M ≈ AᵀA + δI is symmetric and positive
            definite.

    Raises:
        OptionError: a value is out of range.
    """
    values = {"max_iterations": max_iterations, "tolerance": tolerance, "ridge": ridge}
    o = read_options(Iterative, values, "normal_cg")
    M = preconditioned(preconditioner, "normal_cg")

    def run(product: Product, b: Vector, transposed: Product | None) -> tuple[Vector, LinearSolve]:
        assert transposed is not None  # LinearSolver checks this
        (right,) = computed(transposed(b))  # Aᵀb
        q, r, s = b.zeros(), b, right
        p = M(s) if M else s
        sz, scale, ss, rr = dot(s, p), norm(s), dot(s, s), dot(r, r)
        size = best_size = scale if o.ridge else math.sqrt(rr)
        best, largest, stopped, k = q, 0.0, "max_iterations", 0
        for k in range(o.max_iterations + 1):
            if not math.isfinite(sz):
                return q + s, LinearSolve("normal_cg", k, math.nan, "not finite")
            if best_size <= o.tolerance * size:
                stopped = "tolerance"
                break
            # ‖Aᵀr‖ <= ε ‖A‖ ‖r‖: r is orthogonal to the range of A, and no q makes it smaller.
            if not o.ridge and math.sqrt(ss) <= max(epsilon(b), 1e-3 * o.tolerance) * largest * math.sqrt(rr):
                stopped = "inconsistent"
                break
            if k == o.max_iterations:
                break
            (Ap,) = computed(product(p))
            pp, moved = dot(p, p), dot(Ap, Ap)
            if not math.isfinite(moved):
                return q + Ap, LinearSolve("normal_cg", k, math.nan, "not finite")
            if sz <= 0 or moved + o.ridge * pp == 0:  # M is not positive definite
                stopped = "breakdown"
                break
            largest = max(largest, math.sqrt(moved / pp))
            alpha = sz / (moved + o.ridge * pp)
            q, r = computed(q + alpha * p, r - alpha * Ap)
            (s,) = computed(transposed(r) - o.ridge * q if o.ridge else transposed(r))
            z, before = (M(s) if M else s), sz
            sz, ss, rr = dot(s, z), dot(s, s), dot(r, r)
            (p,) = computed(z + (sz / before) * p)
            if (now := math.sqrt(ss if o.ridge else rr)) < best_size:
                best, best_size = q, now
        solve = LinearSolve("normal_cg", k, best_size / (size or 1.0), stopped)
        if not o.ridge:
            return with_true_residual(solve, o.tolerance, product, best, b)

        def normal(v: Vector) -> Vector:
            return transposed(product(v)) + o.ridge * v

        return with_true_residual(solve, o.tolerance, normal, best, right) if size else (best, solve)

    return LinearSolver("normal_cg", o, run, transpose=True)
