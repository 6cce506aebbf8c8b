"""Small network problems: a tanh network is trained below, on rows whose weights, or from a start that, lie above."""

from __future__ import annotations

from typing import Any

import jittor as jt
import numpy as np
from optree import tree_leaves as leaves

from ..bilevel.problem import Problem


def network_problem(seed: int = 0, dtype: str = "float64", upper: str = "weights") -> Problem:
    """Six rows, two features, one hidden layer of three, squared losses; the network lies below.

    `upper` says what lies above: "weights" of the rows, or a "start", a network too: where y starts for operations that
    take x for that, and the centre to which a proximal term draws y.
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
    above = {"hidden": {k: v + 0.5 for k, v in start["hidden"].items()}, "out": start["out"] - 0.5}
    return Problem(
        upper_objective,
        lower_objective,
        upper=above if upper == "start" else rng.normal(size=6).astype(dtype),
        lower=start,
        batches=lambda k, generator: data,
        name="network",
    )
