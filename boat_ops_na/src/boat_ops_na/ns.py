"""NS: implicit differentiation with the inverse Hessian as a truncated Neumann series.

    q = η Σ_{k < K} (I - η(∇²_yy ψ + δI))^k ∇_y F        hypergradient = ∇_x F - ∇²_xy ψ · q        at (x, y_T)

The series converges where the damped Hessian's eigenvalues lie in (0, 2/η); a term that grows proves that they do not.
Source: Lorraine et al., AISTATS 2020, arXiv 1911.02590, algorithm 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from boat_core import Alias, Cost, Hypergradient, Operation, norm, option

from .kernels.krylov import neumann_term


@dataclass(frozen=True)
class Options:
    terms: int = option(20, ge=1, doc="K, terms of the series; one HVP each after the first")
    step_size: float | None = option(
        None, gt=0, lower_rate="plain", doc="η; the lower optimizer's rate where that is plain SGD"
    )
    damping: float = option(0.0, ge=0, doc="δ added to the Hessian's diagonal")


def estimate(trajectory, options):
    end, eta = trajectory.end, options.step_size
    term = total = end.upper_gradient
    sizes = [norm(term)]
    for _ in range(options.terms - 1):
        term, total, square = neumann_term(term, total, end.hessian_product(term), eta, options.damping)
        sizes.append(square**0.5)
    return Hypergradient(
        end.direct - eta * end.mixed_product(total), report=report(sizes, options), concerns=concerns(sizes)
    )


def report(sizes, options):
    relative = sizes[-1] / sizes[0] if sizes[0] else 0.0
    return {"terms": options.terms, "step_size": options.step_size, "last_term": relative, "growth": growth(sizes)}


def growth(sizes):
    """The largest factor from one term to the next."""
    return max((after / before for before, after in pairwise(sizes) if before > 0), default=0.0)


def concerns(sizes):
    # Half of float32's digits are left to rounding.
    if growth(sizes) <= 1 + 1e-4:
        return ()
    return (
        f"the series diverges: a term grew by the factor {growth(sizes):.6g}, and the last of {len(sizes)} is"
        f" {sizes[-1] / sizes[0]:.3g} times the first; a smaller step_size or more damping helps",
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
    tags=("end-point",),
    aliases=(Alias("Neumann", map=("NGD",), approximate=("NS",)), Alias("AID-NS", map=("NGD",), approximate=("NS",))),
    # ∇F and ∇ψ at the end; one product for each term after the first, and the mixed one.
    cost=lambda options, work: Cost(gradients=2, hvps=options.terms),
    kernels=(neumann_term,),
)
