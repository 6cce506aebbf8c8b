"""FD: approximates the mixed product of the last step by a central difference of ∇_x ψ.

    ε = r / ‖g‖, g = ∇_y F(x, y_T)        y± = y_{T-1} ± ε g
    hypergradient = ∇_x F - η (∇_x ψ(x, y+) - ∇_x ψ(x, y-)) / 2ε        g = 0 gives ∇_x F

With T = 1 this is DARTS. Where the problem has a lower set, g is pulled back through the projection of the last step.
Source: Liu et al. (DARTS), ICLR 2019, arXiv 1806.09055, equation (8).
"""

from __future__ import annotations

from dataclasses import dataclass

from boat_core import Alias, Cost, Hypergradient, Operation, Trajectory, option

from .kernels.differences import either_side


@dataclass(frozen=True)
class Options:
    radius: float = option(1e-2, gt=0, doc="r, how far from y_{T-1} the two points lie")
    step_size: float = option(
        None, gt=0, lower_rate="plain", doc="η; the lower optimizer's rate where that is plain SGD"
    )


def estimate(trajectory: Trajectory, options: Options) -> Hypergradient:
    end, centre = trajectory.end, trajectory.iterate(trajectory.steps - 1)
    g = end.before_projection(centre, options.step_size)
    above, below, square, epsilon = either_side(centre, g, options.radius)
    if square == 0:
        return Hypergradient(end.direct, report={"norm_upper_gradient": 0.0})
    length = square**0.5
    plus, minus = end.moved(above).lower_partial, end.moved(below).lower_partial
    # Written this way η/2ε is infinite for an infinite ‖g‖, and the solver's check of the hypergradient reports it.
    return Hypergradient(
        end.direct - (options.step_size * length / (2 * options.radius)) * (plus - minus),
        report={"norm_upper_gradient": length, "epsilon": epsilon},
    )


FD = Operation(
    name="FD",
    stage="approximate",
    role="estimator",
    summary="one mixed product by finite differences",
    formula="∇_x F - η (∇_x ψ(x, y+) - ∇_x ψ(x, y-)) / 2ε, y± = y_{T-1} ± ε∇_y F",
    source="Liu et al. (DARTS), ICLR 2019, arXiv 1806.09055",
    apply=estimate,
    options=Options,
    tags=("end-point", "curved-set"),
    aliases=(Alias("DARTS", map=("NGD",), approximate=("FD",)),),
    # ∇F at the end; ∇ψ at each of the two points.
    cost=lambda options, work: Cost(gradients=3),
    kernels=(either_side,),
)
