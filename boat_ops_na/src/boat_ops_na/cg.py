"""CG: hypergradient by implicit differentiation, its linear system solved by conjugate gradient.

    (∇²_yy ψ + δI) q = ∇_y F        hypergradient = ∇_x F - ∇²_xy ψ · q        at (x, y_T)

Source: Pedregosa, ICML 2016 (HOAG), arXiv 1602.02355, algorithm 1. The method of Hestenes and Stiefel needs a
positive definite matrix: zero or negative curvature ends the solve at the iterate of smallest residual.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from boat_core import Alias, Cost, Hypergradient, Operation, dot, option

from .kernels.krylov import cg_step


@dataclass(frozen=True)
class Options:
    max_iterations: int = option(20, ge=1, doc="iterations at most, one HVP each")
    tolerance: float = option(1e-6, gt=0, lt=1, doc="relative residual at which the solve ends")
    damping: float = option(0.0, ge=0, doc="δ added to the Hessian's diagonal")


@dataclass(frozen=True)
class Solve:
    """How a solve ended. `residual` is relative to the right-hand side."""

    iterations: int
    residual: float
    stopped: str
    curvature: float


def conjugate_gradient(product, b, options):
    """Solve A q = b for `product(v) = A v`; return the iterate of smallest residual and how it ended."""
    q, r, p = b.zeros(), b, b
    rr = dot(r, r)
    target = options.tolerance * math.sqrt(rr)
    best, best_rr, curvature, stopped, k = q, rr, math.inf, "max_iterations", 0
    scale = math.sqrt(rr) or 1.0
    for k in range(options.max_iterations + 1):
        if math.sqrt(rr) <= target:
            stopped = "tolerance"
            break
        if k == options.max_iterations:
            break
        Ap = product(p)
        *moved, pAp, pp, new, _, _ = cg_step(q, r, p, Ap, rr)
        if not math.isfinite(pAp):
            return q + Ap, Solve(k, math.nan, "not finite", math.nan)  # carries the NaN on to where it is reported
        curvature = min(curvature, pAp / pp)
        if not pAp > 0:
            stopped = "curvature"
            break
        (q, r, p), rr = moved, new
        if rr < best_rr:
            best, best_rr = q, rr
    return best, Solve(k, math.sqrt(best_rr) / scale, stopped, curvature)


def estimate(trajectory, options):
    end = trajectory.end

    def product(v):
        Hv = end.hessian_product(v)
        return Hv + options.damping * v if options.damping else Hv

    q, solve = conjugate_gradient(product, end.upper_gradient, options)
    return Hypergradient(end.direct - end.mixed_product(q), report=report(solve), concerns=concerns(solve))


def report(solve):
    curvature = solve.curvature if math.isfinite(solve.curvature) else None
    return {
        "iterations": solve.iterations,
        "relative_residual": solve.residual,
        "stopped": solve.stopped,
        "smallest_curvature": curvature,
    }


def concerns(solve):
    if solve.stopped == "tolerance":
        return ()
    why = f"met curvature {solve.curvature:.3g} <= 0" if solve.stopped == "curvature" else "did not converge"
    return (f"the solve {why}: relative residual {solve.residual:.3g} after {solve.iterations} iterations",)


CG = Operation(
    name="CG",
    stage="approximate",
    role="estimator",
    summary="implicit differentiation, solved by conjugate gradient",
    formula="∇_x F - ∇²_xy ψ · q, (∇²_yy ψ + δI) q = ∇_y F",
    source="Pedregosa 2016, arXiv 1602.02355",
    apply=estimate,
    options=Options,
    tags=("end-point",),
    aliases=(
        Alias("HOAG", map=("NGD",), approximate=("CG",)),
        Alias("AID-CG", map=("NGD",), approximate=("CG",)),
    ),
    # ∇F and ∇ψ at the end; one product a CG iteration at most, and the mixed one.
    cost=lambda options, work: Cost(gradients=2, hvps=options.max_iterations + 1),
    kernels=(cg_step,),
)
