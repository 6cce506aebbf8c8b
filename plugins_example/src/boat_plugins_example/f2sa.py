"""F2SA: estimates the hypergradient from two lower problems, f and f + F/λ, by first derivatives alone.

    z ← z - γ ∇_y f(x, z)                                    T times
    y ← y - η (∇_y f(x, y) + ∇_y F(x, y)/λ_k)                T times
    x along ∇_x F(x, y) + λ_k (∇_x f(x, y) - ∇_x f(x, z))    λ_k = λ_0 (k+1)^p

The paper's step of y is α (∇_y F + λ ∇_y f). Here η = αλ is the lower optimizer's rate, so that the step stays bounded
as λ grows. z takes plain steps and is kept from one outer step to the next. If y and z are solved well enough, the
direction is the hypergradient up to O(1/λ). Choose λ_0 so large that F/λ_0 + f is convex in y if f is strongly convex
in y. Source: Kwon et al., ICML 2023, arXiv 2301.10945, algorithm 1; without noise the paper chooses λ_k of order
k^(1/3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from boat_core import Bilevel, Cost, Descent, FirstOrderStep, Operation, Vector, norm, option

from .kernels.lowrank import plus, plus_columns


@dataclass(frozen=True)
class Options:
    lambda0: float = option(1.0, gt=0, doc="λ_0, the initial multiplier of the lower level")
    growth: float = option(1 / 3, ge=0, lt=1, doc="p, growth of the multiplier, λ_k = λ_0 (k+1)^p")
    inner_rate: float = option(
        None, gt=0, lower_rate="any", doc="γ, step size of z; the lower optimizer's rate if not given"
    )


def step(
    bilevel: Bilevel, x: Vector, y: Vector, state: Any, descend: Descent, k: int, options: Options
) -> FirstOrderStep:
    last, multiplier = bilevel.lower_steps - 1, options.lambda0 * (k + 1) ** options.growth
    z = bilevel.descend(x, y.like_tree(state), options.inner_rate)
    for t in range(bilevel.lower_steps):
        Fy, fy = bilevel.upper_gradients(x, y)[1], bilevel.lower_gradient(x, y, t)
        y = descend(y, plus(fy, [Fy], [1 / multiplier])).sync()

    Fx, fx, fxz = bilevel.upper_gradients(x, y)[0], *(bilevel.lower_gradients(x, v, last)[0] for v in (y, z))
    return FirstOrderStep(
        y=y,
        direction=plus(Fx, [fx, fxz], [multiplier, -multiplier]),
        state=z.tree,
        report={"lambda": multiplier, "distance": norm(y - z)},
    )


F2SA = Operation(
    name="F2SA",
    stage="first-order",
    role="method",
    summary="penalised lower problem against the plain one, multiplier growing",
    formula="x along ∇_x F + λ_k (∇_x f(x, y) - ∇_x f(x, z)), y → argmin F/λ_k + f, z → argmin f",
    source="Kwon et al., ICML 2023, arXiv 2301.10945",
    apply=step,
    options=Options,
    init=lambda x, y, options: y.tree,
    # T times ∇f for z, and ∇F and ∇f for y; for x, ∇F and ∇f at y, and ∇f at z.
    cost=lambda options, work: Cost(gradients=3 * work.steps + 3),
    kernels=(plus_columns,),
)
