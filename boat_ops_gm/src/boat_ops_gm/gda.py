"""GDA: descends a weighted sum of both objectives, for lower problems with more than one minimiser.

    ψ_t = α_t s F + (1 - α_t) r f        α_t = α_0 decay^t, or α_0 / (t + 1) if the schedule is harmonic

The scales s and r are 1 unless they are given. GDA aggregates the objective itself, so every later derivative (RAD's
pullback, CG's Hessian …) is a derivative of ψ. Sources: Liu et al., TPAMI 2022, arXiv 2102.07976, equation (6); for the
scales and the harmonic schedule Liu et al. (BDA), ICML 2020, arXiv 2006.04045.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from boat_core import Alias, Operation, Vector, option, scaled

Objective = Callable[[Vector, Vector, int], Any]


@dataclass(frozen=True)
class Options:
    alpha: float = option(0.5, gt=0, lt=1, doc="α_0, the weight of F at the first lower step")
    decay: float = option(0.9, gt=0, le=1, doc="factor of α from one lower step to the next; harmonic: not used")
    schedule: str = option("geometric", choices=("geometric", "harmonic"), doc="how α falls with the lower step")
    upper_scale: float = option(1.0, gt=0, doc="s, factor of F")
    lower_scale: float = option(1.0, gt=0, doc="r, factor of f")

    def weight(self, t: int) -> float:
        """Return α_t."""
        return self.alpha / (t + 1) if self.schedule == "harmonic" else self.alpha * self.decay**t


def aggregate(upper: Objective, lower: Objective, options: Options) -> Objective:
    def psi(x: Vector, y: Vector, t: int) -> Any:
        alpha = options.weight(t)
        of_upper, of_lower = alpha * options.upper_scale, (1 - alpha) * options.lower_scale
        return scaled(of_upper, upper(x, y, t)) + scaled(of_lower, lower(x, y, t))

    return psi


GDA = Operation(
    name="GDA",
    stage="map",
    role="modifier",
    summary="aggregates upper and lower objective",
    formula="d_t = α_t s ∇_y F + (1-α_t) r ∇_y f, α_t = α_0 decay^t or α_0/(t+1), s = r = 1",
    source="Liu et al. (BDA), arXiv 2102.07976",
    apply=aggregate,
    options=Options,
    tags=("aggregate",),
    aliases=(Alias("BDA", map=("GDA", "NGD"), approximate=("RAD",)),),
)
