"""PTT: cuts the trajectory at the iterate where the upper objective is worst.

    T̄ = argmax over t = 1 … T of F(x, y_t), the smallest such t on a tie

All operations after PTT see y_T̄ as the end, and T̄ steps.

Source: Liu et al. (IAPTT-GM), NeurIPS 2021, arXiv 2110.00455, algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from boat_core import Alias, NonFiniteError, NoOptions, Operation, Trajectory


def select(trajectory: Trajectory, options: NoOptions) -> tuple[Trajectory, Mapping[str, Any]]:
    values = {t: trajectory.upper_value(t) for t in range(1, trajectory.steps + 1)}
    for t, value in values.items():  # `max` would pass over a NaN without an error
        if not math.isfinite(value):
            raise NonFiniteError(f"stage approximate (PTT): F(x, y_{t}) is {value}")
    worst = max(values, key=lambda t: (values[t], -t))
    return trajectory.until(worst), {"steps": worst, "of": trajectory.steps, "upper_objective": values[worst]}


PTT = Operation(
    name="PTT",
    stage="approximate",
    role="selector",
    summary="cuts the trajectory where the upper objective is worst",
    formula="T̄ = argmax_t F(x, y_t), then y_T̄ and the first T̄ steps",
    source="Liu et al. (IAPTT-GM), NeurIPS 2021, arXiv 2110.00455",
    apply=select,
    order=0,
    aliases=(
        Alias("IAPTT", map=("DI", "NGD"), approximate=("PTT", "RAD")),
        Alias("IAPTT-GM", map=("DI", "NGD"), approximate=("PTT", "RAD")),
    ),
)
