"""Small network problems. The lower level trains a tanh network.

The upper variables are either the weights of the rows, or the initial parameters of the network.
"""

from __future__ import annotations

from typing import Any

import jittor as jt
import numpy as np
from optree import tree_leaves as leaves

from ..bilevel.problem import Problem


def network_problem(seed: int = 0, dtype: str = "float64", upper: str = "weights") -> Problem:
    """Return a problem with six rows of two features, one hidden layer of three units, and squared losses.

    Args:
        seed: The seed of the data and of the initial parameters.
        dtype: "float64" or "float32".
        upper: The upper variables. "weights" are weights of the six rows. "start" is a network like the lower one:
            operations that start y at x start there, and a proximal term draws y towards it.
    """
    rng = np.random.default_rng(seed)
    rows, targets, held_out, wanted = (
        rng.normal(size=shape).astype(dtype) for shape in ((6, 2), (6, 1), (6, 2), (6, 1))
    )
    start: Any = {
        "hidden": {"weight": rng.normal(size=(2, 3)).astype(dtype), "bias": rng.normal(size=3).astype(dtype)},
        "out": rng.normal(size=(3, 1)).astype(dtype),
    }

    def losses(y: Any, rows: Any, targets: Any) -> Any:
        hidden = jt.tanh(jt.matmul(rows, y["hidden"]["weight"]) + y["hidden"]["bias"])
        error = jt.matmul(hidden, y["out"]) - targets
        return (error * error).sum(dim=1)

    def mean_square(x: Any) -> Any:
        return sum((leaf * leaf).mean() for leaf in leaves(x))

    def upper_objective(x: Any, y: Any, batch: Any) -> Any:
        return losses(y, **batch).mean() + mean_square(x)

    def lower_objective(x: Any, y: Any, batch: Any) -> Any:
        each = losses(y, **batch)
        if upper == "start":
            return each.mean() + mean_square([a - b for a, b in zip(leaves(x), leaves(y))])
        return (jt.sigmoid(x) * each).mean()

    data = {"rows": rows, "targets": targets}, {"rows": held_out, "targets": wanted}
    upper_start = {"hidden": {k: v + 0.5 for k, v in start["hidden"].items()}, "out": start["out"] - 0.5}
    return Problem(
        upper_objective,
        lower_objective,
        upper=upper_start if upper == "start" else rng.normal(size=6).astype(dtype),
        lower=start,
        batches=lambda k, generator: data,
        name="network",
    )
