"""Which labels are wrong? One weight for each training row, learned from a few clean validation rows.

    x   one weight a training row        f(x, y) = mean σ(x_i) · cross entropy_i   on training rows
    y   a network                        F(x, y) = mean cross entropy              on validation rows

The data are points around three centres; 40 % of the training labels are wrong. Replace `points` by your data and
`net` by your network.
"""

from __future__ import annotations

from typing import Any

import boat_core as boat

import jittor as jt  # isort: skip (boat_core prepares Jittor)
import numpy as np
from jittor import nn

CLASSES, SIZE = 3, 8


def points(rng: np.random.Generator, centres: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Points, float32 of shape (count, SIZE), and their classes, int32."""
    labels = rng.integers(0, CLASSES, count)
    return (centres[labels] + rng.normal(size=(count, SIZE))).astype("float32"), labels.astype("int32")


def problem(seed: int = 0, train_rows: int = 200, validation_rows: int = 60, wrong: float = 0.4) -> boat.Problem:
    """Build the problem. `problem_options` of the configuration are the arguments; the seed is that of the run."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(CLASSES, SIZE))
    inputs, labels = points(rng, centres, train_rows)
    corrupt = rng.random(train_rows) < wrong
    labels = np.where(corrupt, (labels + rng.integers(1, CLASSES, train_rows)) % CLASSES, labels).astype("int32")
    train = {"inputs": inputs, "labels": labels}
    validation = dict(zip(("inputs", "labels"), points(rng, centres, validation_rows)))

    jt.set_global_seed(seed)
    net = nn.Sequential(nn.Linear(SIZE, 16), nn.Tanh(), nn.Linear(16, CLASSES))

    def losses(y: Any, batch: Any) -> Any:
        outputs = boat.call(net, y, batch["inputs"])  # the network with the parameters y
        return nn.cross_entropy_loss(outputs, batch["labels"], reduction="none")

    def upper(x: Any, y: Any, batch: Any) -> Any:
        return losses(y, batch).mean()

    def lower(x: Any, y: Any, batch: Any) -> Any:
        return (jt.sigmoid(x) * losses(y, batch)).mean()

    def evaluate(x: Any, y: Any) -> dict[str, float]:
        """The numbers that the run prints and keeps: how well the weights tell wrong labels from right ones."""
        flagged = x.numpy() < 0
        hits = int((flagged & corrupt).sum())
        return {"precision": hits / max(1, int(flagged.sum())), "recall": hits / max(1, int(corrupt.sum()))}

    return boat.Problem(
        upper,
        lower,
        upper=np.zeros(train_rows, "float32"),
        lower=boat.parameters(net),
        batches=lambda k, rng: (train, validation),  # for f and for F, in outer step k
        evaluate=evaluate,
    )
