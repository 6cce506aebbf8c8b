"""Conjugate gradient, for symmetric positive definite A + δI. Each iteration takes one product.

    α = ⟨r, z⟩/⟨p, Ap⟩    q ← q + αp    r ← r - αAp    z = M⁻¹r    p ← z + (⟨r, z⟩/⟨r, z⟩ before) p

Source: Hestenes and Stiefel, J. Res. Natl. Bur. Stand. 49, 1952. The solve ends at zero or negative curvature.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ...autodiff.vectors import Vector, dot
from ...declare.options import read_options
from .base import (
    Iterative,
    LinearSolve,
    LinearSolver,
    Preconditioner,
    Product,
    computed,
    preconditioned,
    ridged,
    with_true_residual,
)


def cg_step(q: Vector, r: Vector, p: Vector, Ap: Vector, rr: float) -> tuple[Any, ...]:
    """q + αp, r' = r - αAp, r' + βp; ⟨p, Ap⟩, ⟨p, p⟩, ‖r'‖², α = ‖r‖²/⟨p, Ap⟩, β = ‖r'‖²/‖r‖²"""
    pAp, pp = dot(p, Ap), dot(p, p)
    alpha = rr / pAp if pAp else math.nan
    q, r = q + alpha * p, r - alpha * Ap
    new = dot(r, r)
    return q, r, r + (new / rr) * p, pAp, pp, new, alpha, new / rr


def conjugate_gradient(
    max_iterations: int = 100,
    tolerance: float = 1e-6,
    ridge: float = 0.0,
    preconditioner: Preconditioner | None = None,
    *,
    step: Callable[..., tuple[Any, ...]] = cg_step,
    check: bool = True,
) -> LinearSolver:
    """Conjugate gradient, for a symmetric positive definite A + δI.

    Args:
        max_iterations: the largest number of iterations, each with one product.
        tolerance: the relative residual at which the solve ends, in (0, 1).
        ridge: δ >= 0.
        preconditioner: maps a pytree of residuals to M⁻¹ times it, where M ≈ A + δI is symmetric and positive definite.
        step: computes the same as `cg_step`, for example by a kernel.
        check: whether to spend one product on the true residual. Otherwise the report has the residual of the
            recursion.

    Raises:
        OptionError: a value is out of range.
    """
    values = {"max_iterations": max_iterations, "tolerance": tolerance, "ridge": ridge}
    o = read_options(Iterative, values, "conjugate_gradient")
    M = preconditioned(preconditioner, "conjugate_gradient")

    def run(product: Product, b: Vector, _: Product | None) -> tuple[Vector, LinearSolve]:
        matrix = ridged(product, o.ridge)
        q, r, p = b.zeros(), b, M(b) if M else b
        rr = dot(r, r)
        rz, size = dot(r, p) if M else rr, math.sqrt(rr)  # ⟨r, z⟩, ‖b‖
        best, best_rr, curvature, stopped, k = q, rr, math.inf, "max_iterations", 0
        for k in range(o.max_iterations + 1):
            if math.sqrt(rr) <= o.tolerance * size:
                stopped = "tolerance"
                break
            if k == o.max_iterations:
                break
            if rz <= 0:  # M is not positive definite
                stopped = "breakdown"
                break
            Ap = matrix(p)
            *moved, pAp, pp, new, _, _ = step(q, r, p, Ap, rz)
            if not math.isfinite(pAp):
                # carries the NaN on to where it is reported
                return q + Ap, LinearSolve("conjugate_gradient", k, math.nan, "not finite")
            curvature = min(curvature, pAp / pp)
            if not pAp > 0:
                stopped = "curvature"
                break
            before, (q, r, after), rr = rz, moved, new
            if M:
                z = M(r)
                rz = dot(r, z)
                p = z + (rz / before) * p
            else:
                rz, p = rr, after
            computed(q, r, p)
            if rr < best_rr:
                best, best_rr = q, rr
        seen = curvature if math.isfinite(curvature) else None
        solve = LinearSolve("conjugate_gradient", k, math.sqrt(best_rr) / size, stopped, curvature=seen)
        return with_true_residual(solve, o.tolerance, matrix, best, b) if check else (best, solve)

    return LinearSolver("conjugate_gradient", o, run)
