"""One penalty for each feature of a ridge regression, learned on validation rows.

    x   log penalties, one a feature     f(x, y) = mean (A y - b)² + Σ_j exp(x_j) y_j²   on training rows
    y   the weights                      F(x, y) = mean (A y - b)²                        on validation rows

Half of the features have nothing to do with the target: their penalties should become large. Replace `rows` by your
data.
"""

from __future__ import annotations

from typing import Any

import boat_core as boat

import jittor as jt  # isort: skip (boat_core prepares Jittor)
import numpy as np


def rows(rng: np.random.Generator, count: int, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Features and targets, float32."""
    features = rng.normal(size=(count, truth.size))
    targets = features @ truth + rng.normal(size=count)
    return {"features": features.astype("float32"), "targets": targets.astype("float32")}


def problem(seed: int = 0, features: int = 20, train_rows: int = 40, validation_rows: int = 40) -> boat.Problem:
    """Build the problem. `problem_options` of the configuration are the arguments; the seed is that of the run."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=features) * (np.arange(features) < features // 2)
    train, validation, test = (rows(rng, count, truth) for count in (train_rows, validation_rows, 1000))

    def error(y: Any, batch: Any) -> Any:
        return jt.sqr(jt.matmul(batch["features"], y) - batch["targets"]).mean()

    def upper(x: Any, y: Any, batch: Any) -> Any:
        return error(y, batch)

    def lower(x: Any, y: Any, batch: Any) -> Any:
        return error(y, batch) + (jt.exp(x) * y * y).sum()

    def evaluate(x: Any, y: Any) -> dict[str, float]:
        """The numbers that the run prints and keeps; the test rows take no part in any choice."""
        residual = test["features"] @ y.numpy() - test["targets"]
        of_signal, of_noise = np.split(x.numpy(), [features // 2])
        return {
            "test_error": float((residual**2).mean()),
            "log_penalty_of_signal": float(of_signal.mean()),
            "log_penalty_of_noise": float(of_noise.mean()),
        }

    return boat.Problem(
        upper,
        lower,
        upper=np.full(features, -2.0, "float32"),
        lower=np.zeros(features, "float32"),
        batches=lambda k, rng: (train, validation),  # for f and for F, in outer step k
        project_upper=(-6.0, 2.0),  # a penalty beyond exp(2) would need a smaller step on f
        evaluate=evaluate,
    )
