"""DI: the start of the lower trajectory becomes an upper variable too.

    y_0 ← y_0 - η_DI · p_0        p_0 = dF(x, y_T(x, y_0)) / dy_0, by the pullback through the whole trajectory

The start is moved by a gradient descent of its own, apart from the upper optimizer. Source: Liu et al. (IAPTT-GM),
NeurIPS 2021, arXiv 2110.00455, algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from boat_core import Cost, Operation, option, sgd


@dataclass(frozen=True)
class Options:
    rate: float | None = option(None, gt=0, lower_rate="any", doc="η_DI; the lower optimizer's rate if not given")


DI = Operation(
    name="DI",
    stage="map",
    role="modifier",
    summary="learns the start of the lower trajectory",
    formula="y_0 ← y_0 - η_DI dF(x, y_T(x, y_0))/dy_0",
    source="Liu et al. (IAPTT-GM), NeurIPS 2021, arXiv 2110.00455",
    options=Options,
    tags=("start",),
    start="learned",
    start_optimizer=lambda options: sgd(options.rate),
    # An estimator that pulls back gives the start's cotangent for nothing; beside any other, ∇F is pulled back as well.
    cost=lambda options, work: Cost() if "pullback" in work.labels else work.pullback,
)
