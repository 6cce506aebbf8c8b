"""VFO: value-function descent with a dynamic barrier, by first derivatives alone.

    ŷ = T descent steps on f(x, ·) from y        q(x, y) = f(x, y) - f(x, ŷ), ŷ held fixed
    λ = max(0, (φ - ⟨∇F, ∇q⟩) / ‖∇q‖²)           φ = u₁ ‖∇q‖²  (control "gradient")  or  u₁ q  (control "value")
    (x, y) steps along ∇F + λ ∇q

Plain gradient steps lead to ŷ; the optimizers step x and y. On the boundary of a lower set ∇_y q does not vanish at a
lower solution, so λ stays too small to hold the free part of y there, and a concern reports it.

Source: Liu et al. (BOME), NeurIPS 2022, arXiv 2209.08709, algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from boat_core import Alias, Bilevel, Cost, Descent, FirstOrderStep, Operation, Vector, option

from .kernels.combine import multiplier

BOUNDARY = (
    "y lies on the boundary of project_lower, where ∇_y f does not vanish at a lower solution, and λ = {weight:.3g} is"
    " too small for y to reach it; a method whose penalty grows holds there, such as PGDO with penalty 'difference'"
)


@dataclass(frozen=True)
class Options:
    u1: float = option(0.5, gt=0, doc="how hard the barrier pulls y towards the lower solution")
    control: str = option("gradient", choices=("gradient", "value"), doc="φ from ‖∇q‖² or from q")
    inner_rate: float = option(
        None, gt=0, lower_rate="any", doc="step size towards ŷ; the lower optimizer's if not given"
    )


def step(
    bilevel: Bilevel, x: Vector, y: Vector, state: Any, descend: Descent, k: int, options: Options
) -> FirstOrderStep:
    target = bilevel.descend(x, y, options.inner_rate)

    last = bilevel.lower_steps - 1
    Fx, Fy = bilevel.upper_gradients(x, y)
    fx, fy = bilevel.lower_gradients(x, y, last)
    qx, qy = fx - bilevel.lower_gradients(x, target, last)[0], fy
    q = bilevel.lower_value(x, y, last) - bilevel.lower_value(x, target, last)

    F, grad_q = Fx.joined(Fy), qx.joined(qy)
    direction, qq, _, weight = multiplier(F, grad_q, options.u1, q, options.control == "value")
    of_x, of_y = direction.split(x, y)
    return FirstOrderStep(
        y=descend(y, of_y),
        direction=of_x,
        report={"lambda": weight, "q": q, "norm_grad_q": qq**0.5},
        concerns=(BOUNDARY.format(weight=weight),) if bilevel.on_boundary(y, fy, options.inner_rate) else (),
    )


VFO = Operation(
    name="VFO",
    stage="first-order",
    role="method",
    summary="value-function descent with a dynamic barrier",
    formula="(x, y) along ∇F + λ∇q, q = f(x,y) - f(x,ŷ), λ = max(0, (φ - ⟨∇F,∇q⟩)/‖∇q‖²)",
    source="BOME, NeurIPS 2022, arXiv 2209.08709",
    apply=step,
    options=Options,
    aliases=(Alias("BOME", first_order="VFO"),),
    # T steps to ŷ; then ∇F, ∇f at y, and ∇f at ŷ.
    cost=lambda options, work: Cost(gradients=work.steps + 3),
    kernels=(multiplier,),
)
