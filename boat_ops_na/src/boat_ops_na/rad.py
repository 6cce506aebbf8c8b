"""RAD: the exact derivative of F(x, y_T(x)), by reverse-mode differentiation through the whole lower trajectory.

    p_T = ∇_y F(x, y_T)        (p_t, dx_t) = pullback of Φ_t at p_{t+1}        hypergradient = ∇_x F + Σ_t dx_t

Source: Franceschi et al., ICML 2017 and 2018, arXiv 1703.01785, equation (9).
"""

from __future__ import annotations

from boat_core import Alias, Cost, Hypergradient, NoOptions, Operation, Trajectory


def estimate(trajectory: Trajectory, options: NoOptions) -> Hypergradient:
    end = trajectory.end
    p, dx = trajectory.pullback(end.upper_gradient)
    return Hypergradient(end.direct + dx, y0=p, report={"steps": trajectory.kept})


RAD = Operation(
    name="RAD",
    stage="approximate",
    role="estimator",
    summary="exact derivative through the lower trajectory",
    formula="∇_x F + Σ_t dx_t, with (p_t, dx_t) = pullback of Φ_t at p_{t+1}, p_T = ∇_y F",
    source="Franceschi et al. 2017/2018, arXiv 1703.01785",
    apply=estimate,
    default=True,
    tags=("pullback",),
    aliases=(Alias("RHG", map=("NGD",), approximate=("RAD",)), Alias("ITD", map=("NGD",), approximate=("RAD",))),
    # ∇F at the end, and the pullback.
    cost=lambda options, work: Cost(gradients=1) + work.pullback,
)
