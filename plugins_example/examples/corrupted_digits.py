"""Data hyper-cleaning, the experiment of the F2SA paper in small: which labels of the training rows are wrong?

Scikit-learn's handwritten digits (1,797 real 8×8 images, bundled) are split by seed into 500 training, 200 validation
and 1,097 test rows; a share of the training labels, exactly, is drawn anew from the nine other classes.

    x   one weight per training row, through a sigmoid        f = mean_i σ(x_i) · cross-entropy_i(y) + c ‖y‖²
    y   a linear classifier                                   F = mean cross-entropy(y) on validation rows
"""

from __future__ import annotations

import jittor as jt
import numpy as np

import boat_core as boat

CLASSES, TRAIN, VALIDATION = 10, 500, 200


def split(seed, corruption):
    """(images, labels) of training, validation and test rows, and which training rows are corrupt."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(images))
    images, labels = (images[order] / 16).astype(np.float32), labels[order]
    corrupt = np.zeros(TRAIN, bool)
    corrupt[rng.choice(TRAIN, round(corruption * TRAIN), replace=False)] = True
    labels[:TRAIN][corrupt] = (labels[:TRAIN][corrupt] + rng.integers(1, CLASSES, corrupt.sum())) % CLASSES
    parts = slice(TRAIN), slice(TRAIN, TRAIN + VALIDATION), slice(TRAIN + VALIDATION, None)
    return [(images[part], np.eye(CLASSES, dtype=np.float32)[labels[part]]) for part in parts], corrupt


def trained(rows, weights, penalty, steps=1000, rate=1.0):
    """The classifier that weighted rows give, by plain gradient descent from zero."""
    images, labels = rows
    w, b = np.zeros((images.shape[1], CLASSES), np.float32), np.zeros(CLASSES, np.float32)
    for _ in range(steps):
        shares = np.exp(images @ w + b - (images @ w + b).max(axis=1, keepdims=True))
        error = (shares / shares.sum(axis=1, keepdims=True) - labels) * weights[:, None] / weights.sum()
        w, b = w - rate * (images.T @ error + 2 * penalty * w), b - rate * (error.sum(axis=0) + 2 * penalty * b)
    return w, b


def accuracy(rows, classifier):
    images, labels = rows
    return float(((images @ classifier[0] + classifier[1]).argmax(axis=1) == labels.argmax(axis=1)).mean())


def problem(seed: int = 0, corruption: float = 0.3, penalty: float = 0.001) -> boat.Problem:
    """Build the problem: `corruption` is the share of wrong labels, `penalty` is c."""
    (train, validation, test), corrupt = split(seed, corruption)

    def losses(y, rows):
        logits = jt.matmul(rows[0], y["w"]) + y["b"]
        shifted = logits - logits.max(dim=1, keepdims=True)
        return jt.log(shifted.exp().sum(dim=1)) - (shifted * rows[1]).sum(dim=1)

    def lower(x, y, rows):
        return (jt.sigmoid(x) * losses(y, rows)).mean() + penalty * sum((leaf * leaf).sum() for leaf in y.values())

    def evaluate(x, y):
        from sklearn.metrics import roc_auc_score

        weights = 1 / (1 + np.exp(-x.numpy()))
        classifier = trained(train, weights, penalty)
        return {
            "validation_accuracy": accuracy(validation, classifier),
            "test_accuracy": accuracy(test, classifier),
            "test_accuracy_all_rows_alike": accuracy(test, trained(train, np.ones(TRAIN), penalty)),
            "test_accuracy_clean_rows_only": accuracy(test, trained(train, 1.0 - corrupt, penalty)),
            "test_accuracy_validation_rows_only": accuracy(test, trained(validation, np.ones(VALIDATION), penalty)),
            "auc": float(roc_auc_score(~corrupt, weights)),
        }

    return boat.Problem(
        upper_objective=lambda x, y, rows: losses(y, rows).mean(),
        lower_objective=lower,
        upper=np.zeros(TRAIN, np.float32),
        lower={"w": np.zeros((64, CLASSES), np.float32), "b": np.zeros(CLASSES, np.float32)},
        batches=lambda k, rng: (train, validation),
        evaluate=evaluate,
        name="corrupted_digits",
    )
