"""MESO: descends the Moreau envelope reformulation, in a single loop and without second derivatives.

    θ ← θ - η (∇_y f(x, θ) + (θ - y)/γ)
    y ← y - β ((1/c_k) ∇_y F + ∇_y f(x, y) - (y - θ)/γ)
    x along (1/c_k) ∇_x F + ∇_x f(x, y) - ∇_x f(x, θ)        with the new θ and y        c_k = c_0 (k+1)^p

θ starts where y starts and takes plain gradient steps; the optimizers step x and y. An outer iteration takes one step
of each, whatever the number of lower steps. Source: Liu et al. (MEHA), ICML 2024, arXiv 2405.09927, algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from boat_core import Alias, Bilevel, Cost, Descent, FirstOrderStep, Operation, Vector, norm, option

from .kernels.combine import combination, weighted


@dataclass(frozen=True)
class Options:
    eta: float = option(None, gt=0, lower_rate="any", doc="η, step size of θ; the lower optimizer's rate if not given")
    gamma: float = option(1.0, gt=0, doc="γ, parameter of the Moreau envelope")
    c0: float = option(1.0, gt=0, doc="c_0, the initial penalty")
    p: float = option(0.25, ge=0, lt=0.5, doc="growth of the penalty, c_k = c_0 (k+1)^p")


def step(
    bilevel: Bilevel, x: Vector, y: Vector, state: Any, descend: Descent, k: int, options: Options
) -> FirstOrderStep:
    last, c = bilevel.lower_steps - 1, options.c0 * (k + 1) ** options.p
    theta = y.like_tree(state)

    eta, pull = options.eta, 1 / options.gamma
    ftheta = bilevel.lower_gradient(x, theta, last)
    theta = bilevel.project_lower(weighted((1 - eta * pull, theta), (-eta, ftheta), (eta * pull, y))).detach().sync()

    Fy, fy = bilevel.upper_gradients(x, y)[1], bilevel.lower_gradient(x, y, last)
    y = descend(y, weighted((1 / c, Fy), (1, fy), (-pull, y), (pull, theta))).sync()

    Fx, fx, fxtheta = bilevel.upper_gradients(x, y)[0], *(bilevel.lower_gradients(x, v, last)[0] for v in (y, theta))
    return FirstOrderStep(
        y=y,
        direction=weighted((1 / c, Fx), (1, fx), (-1, fxtheta)),
        state=theta.tree,
        report={"c": c, "distance": norm(y - theta)},
    )


MESO = Operation(
    name="MESO",
    stage="first-order",
    role="method",
    summary="Moreau envelope, single loop",
    formula="(x, y) along ∇F/c + ∇f - ∇(f(x, θ) + ‖θ - y‖²/2γ), θ one step towards the envelope's minimiser",
    source="Liu et al. (MEHA), ICML 2024, arXiv 2405.09927",
    apply=step,
    options=Options,
    init=lambda x, y, options: y.tree,
    aliases=(Alias("MEHA", first_order="MESO"),),
    # ∇f at θ; ∇F and ∇f at y; for x, both again at the new y, and ∇f at the new θ.
    cost=lambda options, work: Cost(gradients=6),
    kernels=(combination,),
)
