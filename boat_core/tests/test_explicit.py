"""`grad` and `unroll`: through the steps of an iteration without a bilevel problem."""

from __future__ import annotations

import jittor as jt
import numpy as np
import pytest

import boat_core as boat
from boat_core.testing import assert_close, central_differences, flat

A = np.array([[2.0, 0.3, 0.0], [0.3, 1.0, 0.2], [0.0, 0.2, 0.5]])
START = {"y": np.array([1.0, -2.0, 0.5]), "n": 0, "m": np.zeros(3)}
X = {"b": np.array([0.3, 0.1, -0.2]), "rate": np.array([0.2]), "note": None}


def array(values):
    return jt.array(np.array(values, dtype="float64"), dtype="float64")


def quartic(y, x):
    return 0.5 * (y * (array(A) @ y)).sum() + 0.1 * (y**4).sum() - (x["b"] * y).sum()


def momentum(t, z, x):
    m = 0.5 * z["m"] + boat.grad(quartic)(z["y"], x)
    return {"y": z["y"] - x["rate"] * m, "n": z["n"] + 1, "m": m}


def end_value(start, x, steps=4):
    return float((boat.unroll(momentum, start, x, steps).end["y"] * array([1.0, 2.0, 3.0])).sum().numpy()[0])


@pytest.mark.parametrize("segment", [1, 2, "all", "sqrt", "auto"])
def test_the_pullback_is_the_derivative_of_the_end(segment):
    found = boat.unroll(momentum, START, X, 4, segment=segment)
    assert found.end["n"] == 4 and found.steps == 4
    of_start, of_x = found.pullback({"y": np.array([1.0, 2.0, 3.0]), "n": None, "m": np.zeros(3)})
    assert of_start["n"] is None and of_x["note"] is None
    truth = central_differences(lambda y: end_value({**START, "y": y}, X), START["y"])
    assert_close(of_start["y"], truth, 1e-8)
    truth = central_differences(lambda x: end_value(START, {**X, **x}), {"b": X["b"], "rate": X["rate"]})
    assert_close({"b": of_x["b"], "rate": of_x["rate"]}, truth, 1e-8)


def test_linear_steps_have_a_closed_form():
    """y' = y - η (Ay - x): ∂y_T/∂x = η Σ (I - ηA)^k."""
    found = boat.unroll(lambda t, y, x: y - 0.1 * (array(A) @ y - x), START["y"], X["b"], 5)
    decay, v = np.eye(3) - 0.1 * A, np.array([1.0, 2.0, 3.0])
    of_y, of_x = found.pullback(v)
    assert_close(of_y, np.linalg.matrix_power(decay, 5) @ v, 1e-14)
    assert_close(of_x, 0.1 * sum(np.linalg.matrix_power(decay, k) for k in range(5)) @ v, 1e-14)
    assert_close(found.iterate(0), START["y"], 0)
    assert_close(found.iterate(5), found.end, 0)


def test_the_end_is_tied_to_what_was_given():
    """Jittor's own `grad` goes back through it, to the start too; its derivative is that of the pullback."""
    y, b, rate = array(START["y"]), array(X["b"]), array(X["rate"])
    found = boat.unroll(momentum, {"y": y, "n": 0, "m": array(np.zeros(3))}, {"b": b, "rate": rate, "note": None}, 4)
    ours = jt.grad((found.end["y"] * array([1.0, 2.0, 3.0])).sum(), [y, b, rate])
    of_y, of_x = found.pullback({"y": array([1.0, 2.0, 3.0]), "n": None, "m": array(np.zeros(3))})
    assert_close(ours, [of_y["y"], of_x["b"], of_x["rate"]], 1e-14)


def test_the_end_can_be_differentiated_to_every_order():
    """z_3 = z_0 x³."""
    x = array([2.0])
    derivative = boat.unroll(lambda t, z, x: z * x, array([5.0]), x, 3).end
    for truth in (5 * 3 * 2.0**2, 5 * 6 * 2.0, 5 * 6.0, 0.0):
        derivative = jt.grad(derivative, x)
        assert_close(derivative, [truth], 1e-12)


def test_second_derivatives_through_inner_gradient_steps():
    """z_T of gradient descent on Σ z⁴/4 + xz; central differences of the first derivative."""

    def step(t, z, x):
        return {"z": z["z"] - 0.1 * boat.grad(lambda z: (z**4 / 4 + x * z).sum())(z["z"]), "n": z["n"] + 1}

    def value(both):
        end = boat.unroll(step, {"z": both[0], "n": 0}, both[1], 4, segment=1).end
        return (end["z"] * end["z"]).sum()

    first, h = boat.grad(value), 1e-5
    z, x, along = np.array([0.5, -0.8]), np.array([0.3, 0.6]), np.array([0.4, -0.2])
    ends = [np.concatenate([g.numpy() for g in first((array(z), array(x + sign * h * along)))]) for sign in (1, -1)]
    product = boat.grad(lambda both: (first(both)[1] * array(along)).sum())((array(z), array(x)))
    assert_close(product, (ends[0] - ends[1]) / (2 * h), 1e-7)


def test_operators_without_a_second_derivative_are_refused_if_one_is_taken():
    class Square(jt.Function):
        def execute(self, x):
            self.x = x
            return x * x

        def grad(self, g):
            return 2 * self.x * g

    x = array([2.0])
    unrolling = boat.unroll(lambda t, z, x: z * Square()(x), array([1.0]), x, 2, second_order_guard="off")
    first = jt.grad(unrolling.end, x)
    assert_close(first, [4 * 2.0**3], 1e-12)
    with pytest.raises(boat.SecondOrderError, match="Square"):
        jt.grad(first, x)


@pytest.mark.parametrize(
    ("step", "error", "message"),
    [
        (
            lambda t, z, x: z[:2],
            boat.StructureError,
            r"step 0: the array itself: expected \[3,?\] .*got \[2,?\]",
        ),
        (lambda t, z, x: (z, z), boat.StructureError, "step 0: expected the structure"),
        (lambda t, z, x: z.float32(), boat.StructureError, "step 0: the array itself: .*float64 .*got .*float32"),
        (lambda t, z, x: z / (2 - t), boat.NonFiniteError, "iterate after step 2"),
        (lambda t, z, x: z - boat.grad(lambda y: jt.cumsum(y * y, dim=0).sum())(z), boat.SecondOrderError, "cumsum"),
        (0.1, boat.OptionError, "expected a function"),
    ],
)
def test_invalid_steps_are_refused(step, error, message):
    with pytest.raises(error, match=message):
        boat.unroll(step, START["y"], None, 4)


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda: boat.unroll(momentum, START, X, 0), boat.OptionError, "steps: expected an integer >= 1"),
        (lambda: boat.unroll(momentum, START, X, 2).pullback(np.ones(3)), boat.StructureError, "like the end"),
        (
            lambda: boat.unroll(lambda t, z, x: z, START["y"], None, 2).pullback(np.ones(2)),
            boat.StructureError,
            "shape",
        ),
        (lambda: boat.unroll(momentum, START, X, 2).iterate(3), boat.OptionError, "expected t from 0 to 2"),
        (lambda: boat.grad(lambda y: y)(array([1.0, 2.0])), boat.ObjectiveError, "one number"),
        (lambda: boat.grad(quartic, argument=2)(array([1.0]), X), boat.StructureError, "expected an argument 2"),
        (lambda: boat.grad(quartic)(3, X), boat.StructureError, "floating-point arrays as argument 0"),
    ],
)
def test_invalid_arguments_are_refused(act, error, message):
    with pytest.raises(error, match=message):
        act()


def test_gradients_are_functions_that_differentiate_again():
    y, v = array(START["y"]), array([1.0, 2.0, 3.0])
    gradient = boat.grad(quartic)
    x = {"b": array(X["b"])}
    assert_close(gradient(y, x), A @ START["y"] + 0.4 * START["y"] ** 3 - X["b"], 1e-14)
    assert_close(jt.grad((gradient(y, x) * v).sum(), y), A @ v.numpy() + 1.2 * START["y"] ** 2 * v.numpy(), 1e-13)
    assert flat(boat.grad(quartic, 1)(y, x))[0] == -START["y"][0]


def minimiser(b):
    """Newton's method on the quartic, in numpy."""
    y = np.zeros(3)
    for _ in range(30):
        y = y - np.linalg.solve(A + 1.2 * np.diag(y**2), A @ y + 0.4 * y**3 - b)
    return y


def test_the_three_ways_agree_where_the_steps_have_converged():
    """d⟨w, y*(b)⟩/db = (∇²f)⁻¹ w: through 300 steps, through what the end satisfies, and through values."""
    w, y = np.array([1.0, 2.0, 3.0]), minimiser(X["b"])
    truth = np.linalg.solve(A + 1.2 * np.diag(y**2), w)
    unrolled = boat.unroll(lambda t, z, x: z - 0.4 * boat.grad(quartic)(z, x), np.zeros(3), {"b": X["b"]}, 300)
    assert_close(unrolled.end, y, 1e-12)
    assert_close(unrolled.pullback(w)[1]["b"], truth, 1e-10)

    fit = boat.custom_root(boat.grad(quartic), boat.direct(), numpy=True)(lambda start, x: minimiser(x["b"]))
    found = boat.value_and_grad(lambda x: (fit(None, x) * array(w)).sum())({"b": X["b"]})[1]
    assert_close(found["b"], truth, 1e-12)

    smoothed = boat.es_grad(samples=2000, sigma=1e-3, numpy=True)(lambda b: float(w @ minimiser(b)))
    found = boat.value_and_grad(smoothed)(X["b"])[1]
    assert_close(found, truth, 5 * smoothed.report["standard_error"])
