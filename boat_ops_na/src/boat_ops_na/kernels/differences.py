"""The two points of a central difference along a gradient."""

from __future__ import annotations

import math
from pathlib import Path

from boat_core import Vector, dot, kernel

SOURCE = Path(__file__).with_name("differences.cu")


@kernel(SOURCE, like=("centre", "centre"), results=2)
def either_side(centre: Vector, g: Vector, radius: float) -> tuple[Vector, Vector, float, float]:
    """y_c ± εg, ε = r/‖g‖; ‖g‖², ε"""
    gg = dot(g, g)
    epsilon = radius / math.sqrt(gg) if gg else math.inf
    return centre + epsilon * g, centre - epsilon * g, gg, epsilon
