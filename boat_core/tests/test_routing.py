"""Inside an objective float64 is exact to the last digit; outside nothing has changed."""

from __future__ import annotations

import jittor as jt
import numpy as np
import pytest

from boat_core.autodiff.evaluation import evaluating

NUMBERS = np.array([1.1, -2.3, 0.7])
CASES = {
    "0.1 * x": (lambda x: 0.1 * x, 0.1 * NUMBERS),
    "x / 3.3": (lambda x: x / 3.3, NUMBERS / 3.3),
    "0.3 - x": (lambda x: 0.3 - x, 0.3 - NUMBERS),
    "1 / x": (lambda x: 1 / x, 1 / NUMBERS),
    "x**2.3": (lambda x: (x * x) ** 2.3, (NUMBERS * NUMBERS) ** 2.3),
    "0.1 * sum": (lambda x: 0.1 * x.sum(), 0.1 * NUMBERS.sum()),
    "mean": (lambda x: x.mean(), NUMBERS.mean()),
    "mean over a dimension": (lambda x: jt.mean(x.reshape((3, 1)), dim=0), NUMBERS.mean()),
}


@pytest.mark.parametrize("name", CASES)
def test_float64_is_exact(name):
    function, truth = CASES[name]
    x = jt.array(NUMBERS, dtype="float64")
    with evaluating(native=True):
        value = function(x)
        gradient = jt.grad(value.sum(), x)
    assert str(value.dtype) == "float64"
    np.testing.assert_allclose(value.numpy().ravel(), np.ravel(truth), rtol=1e-15)
    if name == "mean":
        np.testing.assert_allclose(gradient.numpy(), np.full(3, 1 / 3), rtol=1e-15)


def test_outside_an_objective_and_in_float32_nothing_changes():
    def values(dtype):
        x = jt.array(NUMBERS.astype(dtype), dtype=dtype)
        return [(str(value.dtype), value.numpy().tolist()) for value in (0.1 * x, 0.1 * x.sum(), x.mean())]

    outside = values("float64"), values("float32")
    with evaluating(native=True):
        assert values("float32") == outside[1]
        assert values("float64") != outside[0]
    assert (values("float64"), values("float32")) == outside
