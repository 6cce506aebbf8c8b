"""NGD: plain descent on the lower objective.

    d_t = ∇_y ψ_t(x, y_t)

ψ is f, unless a modifier in the chain (GDA) aggregates F and f. Source: Franceschi et al., ICML 2018, arXiv 1806.04910.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from boat_core import Cost, NoOptions, Operation, Vector, gradient

from .kernels import KERNELS, STEPS


def direction(
    objective: Callable[[Vector, Vector, int], Any], x: Vector, y: Vector, t: int, options: NoOptions
) -> Vector:
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
