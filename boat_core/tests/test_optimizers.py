"""Optimizers against their formulas in numpy, step by step, on both sides of zero."""

from __future__ import annotations

import jittor as jt
import numpy as np
import pytest

import boat_core as boat
from boat_core.optimizers.base import apply_updates
from boat_core.testing import assert_close

STEPS = 6


def run(optimizer, start, gradient):
    y = {"a": jt.array(start, dtype="float64")}
    state = optimizer.init(y)
    for _ in range(STEPS):
        updates, state = optimizer.update({"a": gradient(y["a"])}, state, y)
        y = apply_updates(y, updates)
    return y["a"]


def sgd_truth(y, gradient, rate, momentum=0.0, nesterov=False, weight_decay=0.0):
    m = np.zeros_like(y)
    for _ in range(STEPS):
        g = gradient(y) + weight_decay * y
        m = momentum * m + g
        y = y - rate * (g + momentum * m if nesterov else m)
    return y


def adam_truth(y, gradient, rate, beta1=0.9, beta2=0.999, epsilon=1e-8):
    m, v = np.zeros_like(y), np.zeros_like(y)
    for t in range(1, STEPS + 1):
        g = gradient(y)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        y = y - rate * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + epsilon)
    return y


@pytest.mark.parametrize(
    ("make", "truth", "options"),
    [
        (boat.sgd, sgd_truth, {"rate": 0.1}),
        (boat.sgd, sgd_truth, {"rate": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
        (boat.sgd, sgd_truth, {"rate": 0.1, "momentum": 0.9, "nesterov": True}),
        (boat.adam, adam_truth, {"rate": 0.1}),
        (boat.adam, adam_truth, {"rate": 0.3, "beta1": 0.5, "beta2": 0.9, "epsilon": 1e-3}),
    ],
)
def test_formula(make, truth, options):
    start, scale = np.array([1.0, -2.0, 0.0]), np.array([1.0, 3.0, 0.0])
    ours = run(make(**options), start, lambda y: y * jt.array(scale, dtype="float64"))
    assert_close(ours, truth(start, lambda y: y * scale, **options), 1e-14)


def test_adam_differentiates_at_a_zero_gradient():
    """g / (|g| + ε) has the derivative 1/ε at 0; a bare square root would make it NaN."""
    g = jt.zeros((2,), dtype="float64")
    optimizer = boat.adam(rate=1.0, epsilon=1e-2)
    updates, _ = optimizer.update(g, optimizer.init(g), g)
    assert_close(jt.grad(updates.sum(), g), [-100.0, -100.0], 1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: boat.sgd(-1), "sgd.rate: expected a number > 0"),
        (lambda: boat.sgd(float("inf")), "sgd.rate: expected a number > 0"),
        (lambda: boat.sgd(0.1, momentum=1.0), "sgd.momentum: expected a number >= 0 and < 1"),
        (lambda: boat.sgd(0.1, nesterov=True), "sgd: nesterov: expected momentum > 0"),
        (lambda: boat.adam(beta2=1.0), "adam.beta2: expected a number >= 0 and < 1"),
    ],
)
def test_options_out_of_range(make, message):
    with pytest.raises(boat.OptionError, match=message):
        make()


def test_only_plain_sgd_has_a_plain_rate():
    assert boat.sgd(0.1).plain_rate == 0.1
    assert boat.sgd(0.1, momentum=0.5).plain_rate is boat.adam().plain_rate is None
