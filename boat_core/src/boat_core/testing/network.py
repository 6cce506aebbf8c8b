"""A small network problem: every row has a weight above, a tanh network is trained below."""

from __future__ import annotations

from typing import Any

import jittor as jt
import numpy as np

from ..problem import Problem


def network_problem(seed: int = 0, dtype: str = "float64") -> Problem:
    """Six rows, two features, one hidden layer of three: weights of rows above, network below, squared losses."""
    rng = np.random.default_rng(seed)
    rows, targets, held_out, wanted = (
        rng.normal(size=shape).astype(dtype) for shape in ((6, 2), (6, 1), (6, 2), (6, 1))
    )
    start = {
        "hidden": {"weight": rng.normal(size=(2, 3)).astype(dtype), "bias": rng.normal(size=3).astype(dtype)},
        "out": rng.normal(size=(3, 1)).astype(dtype),
    }

    def losses(y: Any, rows: Any, targets: Any) -> Any:
        hidden = jt.tanh(jt.matmul(rows, y["hidden"]["weight"]) + y["hidden"]["bias"])
        error = jt.matmul(hidden, y["out"]) - targets
        return (error * error).sum(dim=1)

    data = {"rows": rows, "targets": targets}, {"rows": held_out, "targets": wanted}
    return Problem(
        upper_objective=lambda x, y, batch: losses(y, **batch).mean() + (x * x).mean(),
        lower_objective=lambda x, y, batch: (jt.sigmoid(x) * losses(y, **batch)).mean(),
        upper=rng.normal(size=6).astype(dtype),
        lower=start,
        batches=lambda k, generator: data,
        name="network",
    )
