"""VSO: treats the value function as a barrier, by sequential minimisation.

    z: T_z steps on f(x, z) + (μ/2)‖z‖²
    y: T steps from z on F(x, y) + (θ/2)‖y‖² - σ log(s), s = f(x, z) + (μ/2)‖z‖² - f(x, y) + slack
    x along the gradient of the same at (z, y) held fixed: ∇_x F - (σ/s)(∇_x f(x, z) - ∇_x f(x, y))

μ, θ, σ and slack shrink by `decay` in every outer iteration. z continues from its last value by plain gradient steps;
the optimizers step x and y. As σ falls, the barrier becomes too stiff for a fixed step size: if a step of y would leave
s > 0 or increase the function that y descends, VSO halves the step until it does neither. If many steps are halved, y
lags behind, and a concern reports it. Source: Liu et al. (BVFIM), ICML 2021, and (BVFSM) arXiv 2110.04974, algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from boat_core import Alias, Bilevel, Cost, Descent, FirstOrderStep, Operation, Vector, dot, option

from .kernels.combine import combination, weighted

HALVINGS = 30
ROUNDING = 1e-6


@dataclass(frozen=True)
class Options:
    z_steps: int | None = option(None, ge=1, doc="T_z; the lower steps if not given")
    z_rate: float = option(None, gt=0, lower_rate="any", doc="step size of z; the lower optimizer's rate if not given")
    mu0: float = option(1e-3, ge=0, doc="the initial μ, which keeps z bounded")
    theta0: float = option(1e-3, ge=0, doc="the initial θ, which keeps y bounded")
    sigma0: float = option(1.0, gt=0, doc="the initial σ, the weight of the barrier")
    slack0: float = option(1.0, gt=0, doc="the initial slack: how far f(x, y) may exceed f(x, z)")
    decay: float = option(1 / 1.01, gt=0, le=1, doc="factor of all four from one outer step to the next")


def step(
    bilevel: Bilevel, x: Vector, y: Vector, state: Any, descend: Descent, k: int, options: Options
) -> FirstOrderStep:
    last, shrink = bilevel.lower_steps - 1, options.decay**k
    mu, theta, sigma, slack = (
        start * shrink for start in (options.mu0, options.theta0, options.sigma0, options.slack0)
    )
    z = bilevel.descend(x, y.like_tree(state), options.z_rate, options.z_steps, ridge=mu)
    fz, room = bilevel.lower_value(x, z, last), 0.5 * mu * dot(z, z) + slack

    def barrier(y: Vector) -> tuple[float, float]:
        """Return the function that y descends, and s."""
        # The difference of the two values of f comes first, so that a small slack beside a large f is not rounded away.
        s = (fz - bilevel.lower_value(x, y, last)) + room
        if s <= 0:
            return math.inf, s
        return bilevel.upper_value(x, y) + 0.5 * theta * dot(y, y) - sigma * math.log(s), s

    y, (value, s), halvings, stopped = z, barrier(z), 0, 0
    smallest = s
    for _ in range(bilevel.lower_steps if s > 0 else 0):
        Fy, fy = bilevel.upper_gradients(x, y)[1], bilevel.lower_gradient(x, y, last)
        moved = descend(y, weighted((1, Fy), (theta, y), (weight(sigma, s), fy)))
        y, value, s, count = shortened(barrier, y, value, s, moved)
        halvings, stopped, smallest = halvings + count, stopped + (count > HALVINGS), min(smallest, s)

    Fx, fx, fzx = bilevel.upper_gradients(x, y)[0], *(bilevel.lower_gradients(x, v, last)[0] for v in (y, z))
    w = weight(sigma, s)
    report = {"mu": mu, "theta": theta, "sigma": sigma, "slack": slack, "inside": s, "smallest_inside": smallest}
    return FirstOrderStep(
        y=y,
        direction=weighted((1, Fx), (-w, fzx), (w, fx)),
        state=z.tree,
        report=report | {"weight": w, "halvings": halvings, "stopped": stopped},
        concerns=concerns(smallest, halvings, stopped, bilevel.lower_steps, sigma),
    )


def weight(sigma: float, s: float) -> float:
    """Return σ/s, the weight of ∇_y f. Outside the barrier it means nothing: return 0, and let a concern report it."""
    return 0.0 if s <= 0 else sigma / s


def shortened(
    barrier: Callable[[Vector], tuple[float, float]], y: Vector, value: float, s: float, moved: Vector
) -> tuple[Vector, float, float, int]:
    """Halve the step from y to `moved` until the function of the barrier does not increase.

    Returns:
        The new point, the function's value and s at it, and the number of halvings. If `HALVINGS` of them are not
        enough, the point is y.
    """
    allowed = value + ROUNDING * max(1.0, abs(value))
    for halvings in range(HALVINGS + 1):
        new, inside = barrier(moved)
        if not new > allowed:  # not `new <= allowed`: a NaN must get through, so that the solver reports it
            return moved, new, inside, halvings
        moved = ((y + moved) / 2).detach().sync()
    return y, value, s, HALVINGS + 1


def concerns(smallest: float, halvings: int, stopped: int, steps: int, sigma: float) -> tuple[str, ...]:
    if not smallest > 0:
        return (f"the inside of the barrier is {smallest:.3g}, not positive",)
    if stopped or halvings > steps:
        return (
            f"{steps} steps of y were halved {halvings} times, and {stopped} of them stopped at the barrier:"
            f" σ = {sigma:.3g} is too small for their step size, and y lags behind",
        )
    return ()


VSO = Operation(
    name="VSO",
    stage="first-order",
    role="method",
    summary="value function as a barrier",
    formula="(x, y) along ∇(F + θ/2‖y‖² - σ log(f(x,z) + μ/2‖z‖² - f(x,y) + slack))",
    source="Liu et al. (BVFSM), arXiv 2110.04974",
    apply=step,
    options=Options,
    init=lambda x, y, options: y.tree,
    aliases=(Alias("BVFSM", first_order="VSO"), Alias("BVFIM", first_order="VSO")),
    # T_z steps of z; ∇F and ∇f in each step of y; for x, both again, and ∇f at z.
    cost=lambda options, work: Cost(gradients=(options.z_steps or work.steps) + 2 * work.steps + 3),
    kernels=(combination,),
)
