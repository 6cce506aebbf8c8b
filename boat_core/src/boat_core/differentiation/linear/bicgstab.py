"""BiCGStab, for any A. Each iteration takes two products, and the method holds a handful of vectors.

    v = A M⁻¹p    α = ρ/⟨r̂, v⟩    s = r - αv    t = A M⁻¹s    ω = ⟨t, s⟩/⟨t, t⟩
    q ← q + α M⁻¹p + ω M⁻¹s    r ← s - ωt    ρ' = ⟨r̂, r⟩    p ← r + (ρ'/ρ)(α/ω)(p - ωv)

Source: van der Vorst, SIAM J. Sci. Stat. Comput. 13, 1992. If ρ or ⟨r̂, v⟩ vanishes, the method
restarts with r̂ = r. If ⟨r̂, v⟩ vanishes again at once, it cannot go on: ⟨r, Ar⟩ = 0, as for any skew-symmetric A.
"""

from __future__ import annotations

import math

from ...autodiff.vectors import Vector, dot
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
    ridged,
    with_true_residual,
)


def bicgstab(
    max_iterations: int = 100,
    tolerance: float = 1e-6,
    ridge: float = 0.0,
    preconditioner: Preconditioner | None = None,
) -> LinearSolver:
    """The stabilised biconjugate gradient method, for any A. Its residual may rise on the way.

    Args:
        max_iterations: the largest number of iterations, each with two products.
        tolerance: the relative residual at which the solve ends, in (0, 1).
        ridge: δ >= 0, which is added to the diagonal of A.
        preconditioner: maps a pytree of residuals to M⁻¹ times it, where M ≈ A + δI.

    Raises:
        OptionError: a value is out of range.
    """
    values = {"max_iterations": max_iterations, "tolerance": tolerance, "ridge": ridge}
    o = read_options(Iterative, values, "bicgstab")
    M = preconditioned(preconditioner, "bicgstab") or (lambda v: v)

    def run(product: Product, b: Vector, _: Product | None) -> tuple[Vector, LinearSolve]:
        matrix, tiny = ridged(product, o.ridge), epsilon(b)
        q, r, p, shadow = b.zeros(), b, b, b
        rho = rr = shadow_square = dot(b, b)
        size = math.sqrt(rr)
        best, best_rr, stopped, k = q, rr, "max_iterations", 0
        for k in range(o.max_iterations + 1):
            if math.sqrt(rr) <= o.tolerance * size:
                stopped = "tolerance"
                break
            if k == o.max_iterations:
                break
            if abs(rho) <= tiny * math.sqrt(shadow_square * rr):
                p = shadow = r
                rho = shadow_square = rr
            Mp = M(p)
            (v,) = computed(matrix(Mp))
            along = dot(shadow, v)
            if not math.isfinite(along):
                return q + v, LinearSolve("bicgstab", k, math.nan, "not finite")
            if abs(along) <= tiny * math.sqrt(shadow_square * dot(v, v)):
                if shadow is r:
                    stopped = "breakdown"
                    break
                rho = 0.0  # restarts
                continue
            alpha = rho / along
            (s,) = computed(r - alpha * v)
            Ms = M(s)
            (t,) = computed(matrix(Ms))
            tt = dot(t, t)
            if not math.isfinite(tt):
                return q + t, LinearSolve("bicgstab", k, math.nan, "not finite")
            omega = dot(t, s) / tt if tt else 0.0
            q, r = computed(q + alpha * Mp + omega * Ms, s - omega * t)
            before, rho, rr = rho, dot(shadow, r), dot(r, r)
            if omega:
                (p,) = computed(r + (rho / before * alpha / omega) * (p - omega * v))
            else:
                rho = 0.0  # restarts
            if rr < best_rr:
                best, best_rr = q, rr
        solve = LinearSolve("bicgstab", k, math.sqrt(best_rr) / size, stopped)
        return with_true_residual(solve, o.tolerance, matrix, best, b)

    return LinearSolver("bicgstab", o, run)
