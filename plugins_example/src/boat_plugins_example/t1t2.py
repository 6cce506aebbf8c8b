"""T1T2: implicit differentiation with the Hessian's inverse replaced by the step size.

    hypergradient = ∇_x F - η ∇²_xy ψ · ∇_y F        at (x, y_T)

One mixed product, no solve: the cheapest estimator that still sees the lower level, exact up to the factor where
∇²_yy ψ is a multiple of the identity. Source: Luketina et al., ICML 2016, arXiv 1511.06727, section 2.
"""

from __future__ import annotations

from dataclasses import dataclass

from boat_core import Cost, Hypergradient, Operation, option


@dataclass(frozen=True)
class Options:
    step_size: float | None = option(
        None, gt=0, lower_rate="plain", doc="η; the lower optimizer's rate where that is plain SGD"
    )


def estimate(trajectory, options):
    end = trajectory.end
    return Hypergradient(
        end.direct - options.step_size * end.mixed_product(end.upper_gradient), report={"step_size": options.step_size}
    )


T1T2 = Operation(
    name="T1T2",
    stage="approximate",
    role="estimator",
    summary="one mixed product in place of the linear solve",
    formula="∇_x F - η ∇²_xy ψ · ∇_y F",
    source="Luketina et al. 2016, arXiv 1511.06727",
    apply=estimate,
    options=Options,
    tags=("end-point",),
    cost=lambda options, work: Cost(gradients=2, hvps=1),
)
