"""NS: implicit differentiation. A truncated Neumann series approximates the inverse Hessian.

    q = η Σ_{k < K} (I - η(∇²_yy ψ + δI))^k ∇_y F        hypergradient = ∇_x F - ∇²_xy ψ · q        at (x, y_T)

The series converges if all eigenvalues of the damped Hessian lie in (0, 2/η). A term that grows proves that some do
not. Source: Lorraine et al., AISTATS 2020, arXiv 1911.02590, algorithm 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from boat_core import Alias, Cost, Hypergradient, LinearSolve, Operation, Trajectory, neumann, option

from .kernels.krylov import neumann_term


@dataclass(frozen=True)
class Options:
    terms: int = option(20, ge=1, doc="K, terms of the series; one HVP each after the first")
    step_size: float = option(
        None, gt=0, lower_rate="plain", doc="η; the lower optimizer's rate where that is plain SGD"
    )
    damping: float = option(0.0, ge=0, doc="δ added to the Hessian's diagonal")


def estimate(trajectory: Trajectory, options: Options) -> Hypergradient:
    end, eta = trajectory.end, options.step_size
    series = neumann(options.terms, eta, tolerance=None, ridge=options.damping, step=neumann_term, check=False)
    q, solve = series(end.hessian_product, end.upper_gradient)
    return Hypergradient(
        end.direct - end.mixed_product(q), report=report(solve, options), concerns=concerns(solve, options)
    )


def report(solve: LinearSolve, options: Options) -> Mapping[str, Any]:
    growth = solve.growth or 0.0
    return {"terms": options.terms, "step_size": options.step_size, "last_term": solve.residual, "growth": growth}


def concerns(solve: LinearSolve, options: Options) -> tuple[str, ...]:
    if not solve.concern:
        return ()
    return (
        f"the series diverges: a term grew by the factor {solve.growth:.6g}, and the last of {options.terms} is"
        f" {solve.residual:.3g} times the first; a smaller step_size or more damping helps",
    )


NS = Operation(
    name="NS",
    stage="approximate",
    role="estimator",
    summary="implicit differentiation by a truncated Neumann series",
    formula="∇_x F - ∇²_xy ψ · q, q = η Σ_{k<K} (I - η∇²_yy ψ)^k ∇_y F",
    source="Lorraine et al. 2020, arXiv 1911.02590",
    apply=estimate,
    options=Options,
    tags=("end-point", "curved-set"),
    aliases=(Alias("Neumann", map=("NGD",), approximate=("NS",)), Alias("AID-NS", map=("NGD",), approximate=("NS",))),
    # ∇F and ∇ψ at the end; one product for each term after the first, and the mixed product.
    cost=lambda options, work: Cost(gradients=2, hvps=options.terms),
    kernels=(neumann_term,),
)
