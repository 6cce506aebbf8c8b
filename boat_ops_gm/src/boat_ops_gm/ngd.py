"""NGD: plain descent on the lower objective.

    d_t = ∇_y ψ_t(x, y_t)

ψ is f, unless a modifier of the chain (GDA) aggregates. Source: Franceschi et al., ICML 2018, arXiv 1806.04910.
"""

from __future__ import annotations

from boat_core import Cost, Operation, gradient

from .kernels import KERNELS, STEPS


def direction(objective, x, y, t, options):
    return gradient(objective(x, y, t), y)


NGD = Operation(
    name="NGD",
    stage="map",
    role="base",
    summary="plain descent on the lower objective",
    formula="d_t = ∇_y f(x, y_t)",
    source="Franceschi et al. 2018, arXiv 1806.04910",
    apply=direction,
    default=True,
    cost=lambda options, work: Cost(gradients=work.steps),
    optimizer_steps=STEPS,
    kernels=KERNELS,
)
