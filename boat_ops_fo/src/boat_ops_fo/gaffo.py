"""GAFFO: descends the regularised gap function of the lower problem, by first derivatives alone.

    G(x, y) = max over θ in Y of ⟨∇_y f(x, y), y - θ⟩ - ‖y - θ‖²/2γ        θ* = proj_Y(y - γ∇_y f), d = y - θ*
    ∇_x G = ∇²_xy f · d        ∇_y G = ∇²_yy f · d + ∇_y f - d/γ            products ≈ (∇f(x, y + σd) - ∇f(x, y)) / σ
    (x, y) along ∇F/c_k + ∇G, then y is projected        c_k = c_0 (k+1)^p / γ

Y is the problem's lower set; without a lower set, G = (γ/2)‖∇_y f‖². G is zero exactly where y is stationary. Each
optimizer takes one step of its variable in an outer iteration, whatever the number of lower steps. Source: Yao et al.,
AISTATS 2025, arXiv 2406.01992, for the case without coupled constraints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from boat_core import Bilevel, Cost, Descent, FirstOrderStep, Operation, Vector, dot, norm, option

from .kernels.combine import combination, weighted


@dataclass(frozen=True)
class Options:
    gamma: float = option(0.5, gt=0, doc="γ, regularisation of the gap function")
    c0: float = option(1.0, gt=0, doc="c_0, the initial penalty")
    p: float = option(0.3, ge=0, lt=0.5, doc="growth of the penalty, c_k = c_0 (k+1)^p / γ")
    probe: float = option(1e-3, gt=0, doc="σ, how far along d the second gradient is taken, relative to ‖d‖")


def step(
    bilevel: Bilevel, x: Vector, y: Vector, state: Any, descend: Descent, k: int, options: Options
) -> FirstOrderStep:
    last, c = bilevel.lower_steps - 1, options.c0 * (k + 1) ** options.p / options.gamma
    Fx, Fy = bilevel.upper_gradients(x, y)
    fx, fy = bilevel.lower_gradients(x, y, last)

    d = (y - bilevel.project_lower(y - options.gamma * fy)).detach().sync()
    probed_x, probed_y = bilevel.lower_gradients(x, weighted((1, y), (options.probe, d)), last)
    # Subtract first: the two gradients nearly cancel, and dividing by σ magnifies any rounding before it.
    Hx, Hy = (probed_x - fx) / options.probe, (probed_y - fy) / options.probe
    return FirstOrderStep(
        y=descend(y, weighted((1 / c, Fy), (1, Hy), (1, fy), (-1 / options.gamma, d))),
        direction=weighted((1 / c, Fx), (1, Hx)),
        report={"c": c, "gap": dot(fy, d) - dot(d, d) / (2 * options.gamma), "norm_d": norm(d)},
    )


GAFFO = Operation(
    name="GAFFO",
    stage="first-order",
    role="method",
    summary="regularised gap function of the lower problem",
    formula="(x, y) along ∇F/c + ∇G, G = max_θ ⟨∇_y f, y - θ⟩ - ‖y - θ‖²/2γ",
    source="Yao et al., AISTATS 2025, arXiv 2406.01992",
    apply=step,
    options=Options,
    # ∇F; ∇f at y and at the probe point.
    cost=lambda options, work: Cost(gradients=3),
    kernels=(combination,),
)
