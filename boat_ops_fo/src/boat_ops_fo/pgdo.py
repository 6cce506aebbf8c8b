"""PGDO: penalty-based gradient descent.

    (x, y) along min(1, 1/γ_k) (∇F + γ_k ∇p)
    p = f(x, y) - f(x, ω)  ("difference"; ω takes T more descent steps on f(x, ·), then is held fixed)
    p = ‖∇_y f(x, y)‖²     ("gradient"; the gradient of p takes one product with second derivatives)

γ_k rises linearly from γ_init to γ_max over `gamma_steps` outer steps. ω takes plain gradient steps; the optimizers
step x and y. The penalty "gradient" is for lower problems without a set; a concern reports a set.

Source: Shen and Chen (V-PBGD, G-PBGD), ICML 2023, arXiv 2302.05185, algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from boat_core import Alias, Bilevel, Cost, Descent, FirstOrderStep, Operation, OptionError, Vector, Work, option

from .kernels.combine import combination, weighted

SET = (
    "penalty 'gradient' is made for lower problems without project_lower: on the boundary of the set ∇_y f does not"
    " vanish at a lower solution; penalty 'difference' holds there"
)


@dataclass(frozen=True)
class Options:
    penalty: str = option("difference", choices=("difference", "gradient"), doc="p, see the formula")
    gamma_init: float = option(0.1, gt=0, doc="the initial γ")
    gamma_max: float = option(10.0, gt=0, doc="the final γ")
    gamma_steps: int = option(100, ge=1, doc="outer steps from γ_init to γ_max")
    inner_rate: float = option(
        None, gt=0, lower_rate="any", doc="step size of ω; the lower optimizer's rate if not given"
    )

    def __post_init__(self) -> None:
        if self.gamma_max < self.gamma_init:
            expected = f"at least gamma_init={self.gamma_init}"
            raise OptionError(where="gamma_max", expected=expected, got=str(self.gamma_max))


def step(
    bilevel: Bilevel, x: Vector, y: Vector, state: Any, descend: Descent, k: int, options: Options
) -> FirstOrderStep:
    last = bilevel.lower_steps - 1
    gamma = options.gamma_init + (options.gamma_max - options.gamma_init) * min(1.0, k / options.gamma_steps)
    Fx, Fy = bilevel.upper_gradients(x, y)

    concerns: tuple[str, ...] = ()
    if options.penalty == "gradient":
        concerns = (SET,) if bilevel.problem.project_lower is not None else ()
        p, px, py = bilevel.squared_lower_gradient(x, y, last)
    else:
        omega = bilevel.descend(x, y.like_tree(state), options.inner_rate)
        fx, py = bilevel.lower_gradients(x, y, last)
        px = fx - bilevel.lower_gradients(x, omega, last)[0]
        p = bilevel.lower_value(x, y, last) - bilevel.lower_value(x, omega, last)
        state = omega.tree

    scale = min(1.0, 1 / gamma)
    return FirstOrderStep(
        y=descend(y, weighted((scale, Fy), (scale * gamma, py))),
        direction=weighted((scale, Fx), (scale * gamma, px)),
        state=state,
        report={"gamma": gamma, "penalty": p},
        concerns=concerns,
    )


def cost(options: Options, work: Work) -> Cost:
    # ∇F, and either ∇_y f with one product, or T steps of ω and ∇f at y and ω.
    return Cost(2, 1) if options.penalty == "gradient" else Cost(work.steps + 3)


PGDO = Operation(
    name="PGDO",
    stage="first-order",
    role="method",
    summary="penalty on the lower optimality gap",
    formula="(x, y) along min(1, 1/γ) ∇(F + γp), p = f(x,y) - f(x,ω) or ‖∇_y f‖²",
    source="Shen and Chen (V-PBGD), ICML 2023, arXiv 2302.05185",
    apply=step,
    options=Options,
    init=lambda x, y, options: y.tree,
    aliases=(
        Alias("PBGD", first_order="PGDO"),
        Alias("V-PBGD", first_order="PGDO"),
        Alias("G-PBGD", first_order="PGDO", options={"PGDO": {"penalty": "gradient"}}),
    ),
    cost=cost,
    kernels=(combination,),
)
