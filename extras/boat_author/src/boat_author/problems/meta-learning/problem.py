"""A start of a small network from which a few steps fit a new curve (MAML, Finn et al. 2017).

    x   the start                        f(x, y) = mean squared error on a few points of a curve
    y   the network fitted to one curve  F(x, y) = mean squared error on other points of the same curve

Every outer step draws new curves: these are its tasks. Replace `curves` by your tasks and `call` by your network.
"""

from __future__ import annotations

from typing import Any

import boat_core as boat

import jittor as jt  # isort: skip (boat_core prepares Jittor)
import numpy as np


def curves(rng: np.random.Generator, count: int, points: int) -> list[dict[str, np.ndarray]]:
    """The points of `count` sine curves, float32 of shape (points, 1) each."""
    made = []
    for _ in range(count):
        amplitude, phase = rng.uniform(0.1, 5), rng.uniform(0, np.pi)
        at = rng.uniform(-5, 5, (2 * points, 1))
        made.append({"at": at.astype("float32"), "value": (amplitude * np.sin(at + phase)).astype("float32")})
    return made


def call(y: Any, at: Any) -> Any:
    return jt.matmul(jt.tanh(jt.matmul(at, y["w1"]) + y["b1"]), y["w2"]) + y["b2"]


def problem(seed: int = 0, tasks: int = 8, points: int = 10, hidden: int = 20) -> boat.Problem:
    """Build the problem. `problem_options` of the configuration are the arguments; the seed is that of the run."""
    rng = np.random.default_rng(seed)
    start = {
        "w1": rng.normal(size=(1, hidden)).astype("float32"),
        "b1": np.zeros(hidden, "float32"),
        "w2": (rng.normal(size=(hidden, 1)) / hidden**0.5).astype("float32"),
        "b2": np.zeros(1, "float32"),
    }

    def error(x: Any, y: Any, batch: Any) -> Any:
        return jt.sqr(call(y, batch["at"]) - batch["value"]).mean()

    def batches(k: int, rng: np.random.Generator) -> boat.Tasks:
        """The tasks of outer step k: for each a batch for f and one for F."""

        def half(curve: dict[str, np.ndarray], part: slice) -> dict[str, np.ndarray]:
            return {name: values[part] for name, values in curve.items()}

        first, second = slice(0, points), slice(points, None)
        return boat.Tasks([(half(curve, first), half(curve, second)) for curve in curves(rng, tasks, points)])

    return boat.Problem(error, error, upper=start, lower=start, batches=batches)
