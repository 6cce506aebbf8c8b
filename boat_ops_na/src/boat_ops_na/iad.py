"""IAD: the upper variables are the start of the lower trajectory, x ≡ y_0.

    hypergradient = ∇_x F + Σ_t dx_t + p_0        p_0 = cotangent of y_0

If x enters F and f only as the start, the first two terms are zero. Source: Finn et al. (MAML), ICML 2017,
arXiv 1703.03400, equation (1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from boat_core import Alias, Excludes, NoOptions, Operation, Trajectory


def select(trajectory: Trajectory, options: NoOptions) -> tuple[Trajectory, Mapping[str, Any]]:
    return trajectory.started_at_upper(), {}


IAD = Operation(
    name="IAD",
    stage="approximate",
    role="selector",
    summary="the upper variables are the start of the lower trajectory",
    formula="∇_x F + Σ_t dx_t + cotangent of y_0, with x ≡ y_0",
    source="Finn et al. (MAML), ICML 2017, arXiv 1703.03400",
    apply=select,
    order=2,
    tags=("start",),
    start="upper",
    excludes=(
        Excludes(
            ("end-point",),
            "that does not see the start (iMAML is CG with x as the proximal centre in f and start: upper)",
        ),
    ),
    aliases=(Alias("MAML", map=("NGD",), approximate=("IAD", "RAD")),),
)
