"""IGA: replaces the inverse Hessian by the outer product of the lower gradient with itself.

    hypergradient = ∇_x F - (⟨∇_y F, ∇_y ψ⟩ / ‖∇_y ψ‖²) ∇_x ψ        at (x, y_T);  ∇_y ψ = 0 gives ∇_x F

The ratio grows without bound as ∇_y ψ vanishes, so IGA reports it. On the boundary of a lower set ∇_x ψ does not vanish
with ∇_y ψ, so the outer product means nothing there, and a concern reports it.

Source: Liu et al. (LwCL), IEEE TPAMI 2024, arXiv 2307.15257.
"""

from __future__ import annotations

from boat_core import Cost, Hypergradient, NoOptions, Operation, Trajectory, dot

BOUNDARY = (
    "y lies on the boundary of project_lower, where the outer product does not approximate the Hessian; CG and NS hold"
    " there, and RAD"
)


def estimate(trajectory: Trajectory, options: NoOptions) -> Hypergradient:
    end = trajectory.end
    g, d = end.upper_gradient, end.lower_gradient
    dd = dot(d, d)
    concerns = (BOUNDARY,) if end.restricted else ()
    if dd == 0:
        return Hypergradient(end.direct, report={"ratio": 0.0, "norm_lower_gradient": 0.0}, concerns=concerns)
    ratio = dot(g, d) / dd
    report = {"ratio": ratio, "norm_lower_gradient": dd**0.5}
    return Hypergradient(end.direct - ratio * end.lower_partial, report=report, concerns=concerns)


IGA = Operation(
    name="IGA",
    stage="approximate",
    role="estimator",
    summary="implicit differentiation by a Gauss-Newton outer product",
    formula="∇_x F - (⟨∇_y F, ∇_y ψ⟩ / ‖∇_y ψ‖²) ∇_x ψ",
    source="Liu et al. (LwCL), IEEE TPAMI 2024, arXiv 2307.15257",
    apply=estimate,
    tags=("end-point", "curved-set"),
    # ∇F and ∇ψ; each is taken in x and y at once.
    cost=lambda options, work: Cost(gradients=2),
)
