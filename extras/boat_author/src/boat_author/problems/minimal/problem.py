"""A problem whose solution is known: y descends to x, and x to the target.

    x   three numbers                    f(x, y) = ½ ‖y - x‖², least at y = x
    y   three numbers                    F(x, y) = ½ ‖y - target‖²

Replace the two objectives by yours. An objective is a pure function of x, y and a batch, and returns one number. x and
y are numpy arrays, or dictionaries and lists of them.
"""

from __future__ import annotations

from typing import Any

import boat_core as boat

import jittor as jt  # isort: skip (boat_core prepares Jittor)
import numpy as np


def problem(seed: int = 0, target: float = 1.0) -> boat.Problem:
    """Build the problem. `problem_options` of the configuration are the arguments; the seed is that of the run."""
    rng = np.random.default_rng(seed)

    def upper(x: Any, y: Any, batch: Any) -> Any:
        return 0.5 * jt.sqr(y - target).sum()

    def lower(x: Any, y: Any, batch: Any) -> Any:
        return 0.5 * jt.sqr(y - x).sum()

    def evaluate(x: Any, y: Any) -> dict[str, float]:
        """The numbers that the run prints and keeps; they never influence it."""
        return {"distance_to_target": float(np.abs(x.numpy() - target).max())}

    start = rng.normal(size=3).astype("float32")
    return boat.Problem(upper, lower, upper=start, lower=np.zeros(3, "float32"), evaluate=evaluate)
