"""Data hyper-cleaning: learn which training labels are wrong, from a small clean validation set.

The seed splits scikit-learn's handwritten digits (1,797 real 8×8 images, bundled) into training, validation and test
rows. Exactly 40 % of the training labels are corrupt: another class replaces the true one.

    x   one weight per training row, through a sigmoid        f = mean_i σ(x_i) · cross-entropy_i(y) on training rows
    y   a 64-64-10 tanh network                               F = mean cross-entropy(y) on validation rows

A row whose learned weight is below the threshold (0.5) counts as corrupt. The test rows take no part in any choice: the
step sizes and the start in the configurations have the lowest validation loss among a few tried on seed 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jittor as jt
import numpy as np
from jittor import nn
from sklearn.datasets import load_digits

import boat_core as boat

CLASSES = 10


@dataclass(frozen=True)
class Split:
    """Images (float32, in 0 … 1) and labels (int32); `clean` are the training labels before corruption."""

    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    clean: np.ndarray

    @property
    def corrupt(self) -> np.ndarray:
        return self.train[1] != self.clean


def split_digits(seed: int, train_rows: int, validation_rows: int, corruption: float) -> Split:
    """Shuffle and split the digits; replace exactly `corruption` of the training labels by another class."""
    images, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(images))
    images, labels = (images[order] / 16).astype(np.float32), labels[order].astype(np.int32)
    ends = train_rows, train_rows + validation_rows
    if not 0 < train_rows < ends[1] < len(images):
        raise ValueError(f"train_rows + validation_rows: expected fewer than {len(images)} rows (got {ends[1]})")
    clean = labels[: ends[0]]
    noisy = clean.copy()
    rows = rng.choice(train_rows, round(corruption * train_rows), replace=False)
    noisy[rows] = (clean[rows] + rng.integers(1, CLASSES, len(rows))) % CLASSES
    return Split(
        train=(images[: ends[0]], noisy),
        validation=(images[ends[0] : ends[1]], labels[ends[0] : ends[1]]),
        test=(images[ends[1] :], labels[ends[1] :]),
        clean=clean,
    )


def cross_entropy(logits: Any, one_hot: Any) -> Any:
    """Return the cross-entropy of each row."""
    shifted = logits - logits.max(dim=1, keepdims=True)
    return jt.log(shifted.exp().sum(dim=1)) - (shifted * one_hot).sum(dim=1)


def problem(
    seed: int = 0,
    train_rows: int = 900,
    validation_rows: int = 300,
    corruption: float = 0.4,
    hidden: int = 64,
    threshold: float = 0.5,
    train_steps: int = 400,
    train_rate: float = 0.5,
) -> boat.Problem:
    """Build the problem.

    Args:
        threshold: A row whose weight is below it counts as corrupt.
        train_steps, train_rate: The steps and the rate of the three trainings that `evaluate` compares: on all rows, on
            the rows kept, and on clean labels only. All three have the same net and start.
    """
    data = split_digits(seed, train_rows, validation_rows, corruption)
    jt.set_global_seed(seed)
    net = nn.Sequential(nn.Linear(64, hidden), nn.Tanh(), nn.Linear(hidden, CLASSES))
    start = boat.parameters(net)

    def batch(rows: tuple[np.ndarray, np.ndarray]) -> dict[str, np.ndarray]:
        return {"images": rows[0], "one_hot": np.eye(CLASSES, dtype=np.float32)[rows[1]]}

    def losses(y: Any, rows: dict[str, Any]) -> Any:
        return cross_entropy(boat.call(net, y, rows["images"]), rows["one_hot"])

    def lower(x: Any, y: Any, rows: Any) -> Any:
        return (jt.sigmoid(x) * losses(y, rows)).mean()

    def upper(x: Any, y: Any, rows: Any) -> Any:
        return losses(y, rows).mean()

    train, validation = batch(data.train), batch(data.validation)

    def accuracy_after_training(weights: np.ndarray, labels: np.ndarray) -> float:
        """Train the net from the common start with these weights and labels, and return its test accuracy."""
        rows = {k: jt.array(v) for k, v in batch((data.train[0], labels)).items()}
        w, y = jt.array(weights.astype(np.float32)), dict(start)
        for _ in range(train_steps):
            gradient = jt.grad((w * losses(y, rows)).sum() / float(weights.sum()), list(y.values()))
            y = {name: (v - train_rate * g).detach() for (name, v), g in zip(y.items(), gradient)}
            jt.sync(list(y.values()))
        predicted = boat.call(net, y, jt.array(data.test[0])).numpy().argmax(axis=1)
        return float((predicted == data.test[1]).mean())

    def evaluate(x: Any, y: Any) -> dict[str, float]:
        weights = 1 / (1 + np.exp(-x.numpy()))
        flagged, corrupt = weights < threshold, data.corrupt
        hits = int((flagged & corrupt).sum())
        precision, recall = hits / max(1, int(flagged.sum())), hits / int(corrupt.sum())
        before = accuracy_after_training(np.ones(train_rows), data.train[1])
        after = accuracy_after_training((~flagged).astype(float), data.train[1])
        ceiling = accuracy_after_training((~corrupt).astype(float), data.train[1])
        return {
            "accuracy_before": before,
            "accuracy_after": after,
            "accuracy_ceiling": ceiling,
            "won_back": (after - before) / (ceiling - before) if ceiling > before else float("nan"),
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / max(1e-12, precision + recall),
        }

    def draw_weights(axes: Any, x: np.ndarray, y: Any) -> None:
        weights = 1 / (1 + np.exp(-x))
        both = [weights[~data.corrupt], weights[data.corrupt]]
        axes.hist(both, bins=np.linspace(0, 1, 21), stacked=True, label=["clean rows", "corrupt rows"])
        axes.axvline(threshold, color="black", linewidth=1)
        axes.set_xlabel("learned weight")
        axes.set_ylabel("training rows")
        axes.legend()

    return boat.Problem(
        upper,
        lower,
        upper=np.zeros(train_rows, dtype=np.float32),
        lower=start,
        batches=lambda k, rng: (train, validation),
        evaluate=evaluate,
        panels={"learned weights": draw_weights},
        name="hyper_cleaning",
    )
