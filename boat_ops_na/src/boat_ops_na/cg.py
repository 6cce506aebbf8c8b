"""CG: implicit differentiation. Conjugate gradient solves the linear system.

    (∇²_yy ψ + δI) q = ∇_y F        hypergradient = ∇_x F - ∇²_xy ψ · q        at (x, y_T)

Source: Pedregosa, ICML 2016 (HOAG), arXiv 1602.02355, algorithm 1. The method of Hestenes and Stiefel needs a
positive definite matrix. If it meets zero or negative curvature, it stops and returns the iterate of smallest residual.
On the boundary of a lower set that is curved there, the matrix is not symmetric: GMRES takes the place of CG.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from boat_core import Alias, Cost, Hypergradient, LinearSolve, Operation, Trajectory, conjugate_gradient, gmres, option

from .kernels.krylov import cg_step


@dataclass(frozen=True)
class Options:
    max_iterations: int = option(20, ge=1, doc="iterations at most, one HVP each")
    tolerance: float = option(1e-6, gt=0, lt=1, doc="relative residual at which the solve ends")
    damping: float = option(0.0, ge=0, doc="δ added to the Hessian's diagonal")


def estimate(trajectory: Trajectory, options: Options) -> Hypergradient:
    end = trajectory.end
    if end.symmetric:
        # The exact residual would cost one more product. The residual of the recursion is enough for the report.
        solver = conjugate_gradient(
            options.max_iterations, options.tolerance, ridge=options.damping, step=cg_step, check=False
        )
    else:
        solver = gmres(options.max_iterations, options.tolerance, ridge=options.damping)
    q, solve = solver(end.hessian_product, end.upper_gradient)
    return Hypergradient(end.direct - end.mixed_product(q), report=report(solve), concerns=concerns(solve))


def report(solve: LinearSolve) -> Mapping[str, Any]:
    return {
        "iterations": solve.iterations,
        "relative_residual": solve.residual,
        "stopped": solve.stopped,
        "smallest_curvature": solve.curvature,
    }


def concerns(solve: LinearSolve) -> tuple[str, ...]:
    return (solve.concern,) if solve.concern else ()


CG = Operation(
    name="CG",
    stage="approximate",
    role="estimator",
    summary="implicit differentiation, solved by conjugate gradient",
    formula="∇_x F - ∇²_xy ψ · q, (∇²_yy ψ + δI) q = ∇_y F",
    source="Pedregosa 2016, arXiv 1602.02355",
    apply=estimate,
    options=Options,
    tags=("end-point", "line-search", "curved-set"),
    aliases=(
        Alias("HOAG", map=("NGD",), approximate=("CG",)),
        Alias("AID-CG", map=("NGD",), approximate=("CG",)),
    ),
    # ∇F and ∇ψ at the end; at most one product per CG iteration, and the mixed product.
    cost=lambda options, work: Cost(gradients=2, hvps=options.max_iterations + 1),
    kernels=(cg_step,),
)
