"""GDA: descent on both objectives aggregated, for lower problems with more than one minimiser.

    ψ_t = α_t F + (1 - α_t) f        α_t = α_0 decay^t

The objective itself is aggregated, so every derivative downstream (RAD's pullback, CG's Hessian …) is of ψ.
Source: Liu et al., TPAMI 2022 (BDA), arXiv 2102.07976, equation (6).
"""

from __future__ import annotations

from dataclasses import dataclass

from boat_core import Alias, Operation, option, scaled


@dataclass(frozen=True)
class Options:
    alpha: float = option(0.5, gt=0, lt=1, doc="α_0, the weight of F at the first lower step")
    decay: float = option(0.9, gt=0, le=1, doc="factor of α from one lower step to the next")


def aggregate(upper, lower, options):
    def psi(x, y, t):
        alpha = options.alpha * options.decay**t
        return scaled(alpha, upper(x, y, t)) + scaled(1 - alpha, lower(x, y, t))

    return psi


GDA = Operation(
    name="GDA",
    stage="map",
    role="modifier",
    summary="aggregates upper and lower objective",
    formula="d_t = α_t ∇_y F + (1-α_t) ∇_y f, α_t = α_0 decay^t",
    source="Liu et al. (BDA), arXiv 2102.07976",
    apply=aggregate,
    options=Options,
    tags=("aggregate",),
    aliases=(Alias("BDA", map=("GDA", "NGD"), approximate=("RAD",)),),
)
