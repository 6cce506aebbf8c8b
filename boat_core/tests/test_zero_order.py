"""Gradients from function values: against closed forms of the smoothed function, and around functions of any kind."""

from __future__ import annotations

import jittor as jt
import numpy as np
import pytest

import boat_core as boat
from boat_core.differentiation.zero_order import METHODS
from boat_core.testing import assert_close, flat

SIGMA, AT = 0.5, np.array([0.7, -1.2])


def curved(x):
    """Σ sin 2x + x³ + 3 in numpy; far from linear within σ, and far from 0."""
    x = flat(x)
    return float(np.sum(np.sin(2 * x) + x**3 + 3))


def smoothed(x):
    """E cos 2(x + σu) = e^(-2σ²) cos 2x, E (x + σu)² = x² + σ²."""
    return 2 * np.exp(-2 * SIGMA**2) * np.cos(2 * x) + 3 * (x**2 + SIGMA**2)


def vector(tree):
    return boat.Vector.of(tree, "x")


def estimate(value, x, method="antithetic", samples=20, sigma=SIGMA, seed=0, **more):
    rng = np.random.default_rng(seed)
    return boat.smoothed_gradient(value, vector(x), method=method, samples=samples, sigma=sigma, rng=rng, **more)


def draws(samples, size, seed=0):
    return np.random.default_rng(seed).standard_normal((samples, size))


# The estimates


@pytest.mark.parametrize("method", METHODS)
def test_every_method_estimates_the_gradient_of_the_smoothed_function(method):
    found, said = estimate(curved, AT, method, 4000)
    truth = smoothed(AT)
    error = np.linalg.norm(flat(found) - truth) / np.linalg.norm(truth)
    assert error < 3 * said["standard_error"] < 0.3
    unsmoothed = 2 * np.cos(2 * AT) + 3 * AT**2
    assert np.linalg.norm(flat(found) - unsmoothed) > 2 * np.linalg.norm(flat(found) - truth)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_its_formula(method):
    u, n = draws(5, 2), 5
    up, down = ([curved(AT + sign * SIGMA * row) for row in u] for sign in (1, -1))
    weights = {
        "naive": up,
        "forward": [f - curved(AT) for f in up],
        "antithetic": [(f - g) / 2 for f, g in zip(up, down)],
        "baseline": [f - np.mean([g for j, g in enumerate(up) if j != i]) for i, f in enumerate(up)],
    }[method]
    found, said = estimate(curved, AT, method, n)
    assert_close(found, np.sum([w * row for w, row in zip(weights, u)], axis=0) / (n * SIGMA), 1e-12)
    evaluations = {"antithetic": 2 * n, "forward": n + 1}.get(method, n)
    assert {k: said[k] for k in ("method", "samples", "evaluations", "sigma")} == {
        "method": method,
        "samples": n,
        "evaluations": evaluations,
        "sigma": SIGMA,
    }


def test_a_known_centre_is_not_evaluated_again():
    plain, _ = estimate(curved, AT, "forward")
    found, said = estimate(curved, AT, "forward", centre=curved(AT))
    assert_close(found, plain, 0)
    assert said["evaluations"] == 20


def test_antithetic_is_exact_on_a_quadratic_in_the_drawn_directions():
    """f = ½ xᵀAx + bᵀx: mean of u_i ⟨u_i, ∇f⟩, whatever σ."""
    rng = np.random.default_rng(1)
    A, b = rng.normal(size=(3, 3)), rng.normal(size=3)
    A, x, u = A + A.T, rng.normal(size=3), draws(4, 3)
    for sigma in (1e-3, 10.0):
        found, _ = estimate(lambda v: float(0.5 * flat(v) @ A @ flat(v) + b @ flat(v)), x, samples=4, sigma=sigma)
        assert_close(found, u.T @ (u @ (A @ x + b)) / 4, 1e-9)


def test_the_noise_falls_from_naive_to_baseline_to_antithetic():
    noise = {m: estimate(curved, AT, m, 2000, sigma=0.1)[1]["standard_error"] for m in METHODS}
    assert noise["naive"] > 5 * noise["baseline"] > 5 * noise["antithetic"] / 1.5
    assert noise["naive"] > 5 * noise["forward"] > 5 * noise["antithetic"] / 1.5


def test_the_standard_error_is_that_of_the_estimate():
    """On ⟨g, x⟩ with d = 3 it is √(4/n), also where it exceeds 1."""
    g = np.array([1.0, -2.0, 0.5])

    def linear(v):
        return float(g @ flat(v))

    assert estimate(linear, np.zeros(3), samples=2000)[1]["standard_error"] == pytest.approx((4 / 2000) ** 0.5, rel=0.1)
    wide = estimate(lambda v: float(flat(v)[0]), np.zeros(3000), samples=150, sigma=1.0)[1]["standard_error"]
    assert wide is None or wide > 1.5  # √(3001/150) = 4.5
    assert estimate(linear, np.zeros(3), samples=1)[1]["standard_error"] is None
    assert estimate(lambda v: 2.0, np.zeros(3))[1]["standard_error"] == 0.0


def test_a_pytree_is_one_vector_leaf_by_leaf():
    tree = {"b": AT[1:].reshape(1, 1), "a": [AT[:1].astype("float32")]}
    found, _ = estimate(curved, tree, samples=3)
    assert [str(leaf.dtype) for leaf in found.leaves] == ["float32", "float64"]
    assert_close(found, estimate(curved, AT, samples=3)[0], 1e-6)


@pytest.mark.parametrize(
    ("method", "bad", "place"),
    [
        ("antithetic", 4, "sample 1 of 3, x - σu: the function is nan"),
        ("baseline", 3, "sample 2 of 3, x [+] σu"),
        ("forward", 1, "^x: the function"),
    ],
)
def test_a_nonfinite_sample_is_reported(method, bad, place):
    calls = iter(range(1, 100))
    with pytest.raises(boat.NonFiniteError, match=place):
        estimate(lambda v: float("nan") if next(calls) == bad else 1.0, AT, method, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "central"}, "smoothed_gradient.method: expected one of 'antithetic', .*'central'"),
        ({"samples": 0}, "samples: expected an integer >= 1"),
        ({"samples": 1, "method": "baseline"}, "at least 2 with method 'baseline'"),
        ({"sigma": 0.0}, "sigma: expected a number > 0"),
        ({"sigma": 1e-17}, "sigma: a step of 1e-17 is lost to rounding beside an entry of 1.2 in float64"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(boat.OptionError, match=message):
        estimate(curved, AT, **options)


# The decorator


def test_a_function_without_a_derivative_gets_one():
    """The value is the function's own; through what follows and what precedes, Jittor's derivatives go on."""

    @boat.es_grad(samples=4, sigma=SIGMA, seed=7, numpy=True)
    def black_box(x):
        assert isinstance(x, np.ndarray)
        return curved(x)

    x = jt.array(AT / 2, dtype="float64")
    value = black_box(x + x)
    assert value.shape == [1] and str(value.dtype) == "float64" and black_box.report is None
    assert float(value.numpy()[0]) == curved(AT)
    expected = estimate(curved, AT, samples=4, seed=[7, 0])[0]
    assert_close(jt.grad(value * value, x), 2 * curved(AT) * 2 * flat(expected), 1e-12)
    assert black_box.report["evaluations"] == 8


def test_directions_are_fresh_in_every_call_and_the_same_in_every_run():
    def run():
        decorated = boat.es_grad(samples=3)(lambda x: (x * x * x).sum())
        x = jt.array(AT, dtype="float64")
        first, second = decorated(x), decorated(x)
        # In any order, and again: what counts is the call.
        return [jt.grad(value, x, retain_graph=True).numpy() for value in (second, first, first)]

    (second, first, repeated), again = run(), run()
    assert not np.allclose(first, second)
    assert np.array_equal(first, repeated)
    assert np.array_equal([second, first, first], again)


def test_several_arguments_and_their_pytrees():
    """Integers, strings and all that is not chosen are passed on; the leaves chosen have a derivative together."""
    seen = []

    @boat.es_grad(samples=5, sigma=SIGMA, argnums=(0, 2))
    def black_box(x, label, y, *, factor):
        seen.append((label, str(x["count"].dtype), isinstance(y, jt.Var)))
        return float(factor.numpy()[0]) * (curved(x["w"]) + curved(y))

    x = {"w": jt.array(AT, dtype="float64"), "count": jt.array([3])}
    y, factor = jt.array(AT[::-1].copy(), dtype="float64"), jt.array([2.0])
    value = black_box(x, "label", y, factor=factor)
    gx, gy, zero = jt.grad(value, [x["w"], y, factor])
    expected = estimate(lambda v: 2 * curved(v), np.concatenate([AT, AT[::-1]]), samples=5, seed=[0, 0])[0]
    assert_close([gx, gy], expected, 1e-12)
    assert_close(zero, [0.0], 0)
    assert set(seen) == {("label", "int32", True)}


@pytest.mark.parametrize(
    "result",
    [3, 3.0, np.float32(3), np.array([[3.0]]), jt.array([3])],
    ids=["int", "float", "numpy", "array", "jittor"],
)
def test_every_form_of_one_number_is_accepted(result):
    value = boat.es_grad()(lambda x: result)(np.ones(2, "float32"))
    assert value.numpy().tolist() == [3.0] and str(value.dtype) == "float32"


@pytest.mark.parametrize(
    ("result", "got"),
    [(None, "NoneType"), ("3", "str"), (np.ones(2), r"an array of shape \[2\]"), (1j, "complex"), ([1.0], "list")],
)
def test_results_other_than_one_number_are_refused(result, got):
    with pytest.raises(boat.ObjectiveError, match=f"es_grad of .*lambda>: expected one number .got {got}"):
        boat.es_grad()(lambda x: result)(np.ones(2))


@pytest.mark.parametrize("numpy", [False, True])
def test_a_function_that_changes_an_argument_is_refused(numpy):
    def spoils(x, batch):
        batch["rows"][0] = 5.0
        return 1.0

    batch = {"rows": np.zeros(3) if numpy else jt.array(np.zeros(3))}
    with pytest.raises(
        boat.ObjectiveError, match=r"changed its argument 1\['rows'\]; it must not change its arguments"
    ):
        boat.es_grad(numpy=numpy)(spoils)(np.ones(2), batch)
    assert_close(batch["rows"], np.zeros(3), 0)


def test_later_changes_of_an_argument_do_not_matter():
    """What the caller does to them between the call and the derivative is no matter."""
    x, scale, shift = jt.array(AT, dtype="float64"), np.ones(2), jt.array(np.zeros(2), dtype="float64")
    decorated = boat.es_grad(samples=3)(lambda x, scale, shift: curved(x.numpy() * scale + shift.numpy()))
    value = decorated(x, scale, shift)
    scale[:] = 100.0
    shift.assign(shift + 5.0)
    assert_close(jt.grad(value, x), estimate(curved, AT, samples=3, sigma=0.01, seed=[0, 0])[0], 1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"argnums": -1}, "es_grad.argnums: expected"),
        ({"argnums": (0, True)}, "es_grad: argnums: expected places of arguments"),
        ({"argnums": ()}, "es_grad: argnums: expected places"),
        ({"seed": -1}, "es_grad.seed: expected an integer >= 0"),
        ({"samples": 1, "method": "baseline"}, "es_grad: samples: expected at least 2"),
    ],
)
def test_the_decorators_options(options, message):
    with pytest.raises(boat.OptionError, match=message):
        boat.es_grad(**options)


@pytest.mark.parametrize(
    ("argnums", "arguments", "message"),
    [
        (1, (np.ones(2),), r"expected an argument 1 \(got 1 by place\)"),
        (0, (np.ones(2, int), np.ones(2)), "expected a floating-point array in argument 0"),
        ((0, 1), (1.0, None), "expected a floating-point array in argument 0, 1"),
    ],
)
def test_arguments_that_cannot_be_differentiated(argnums, arguments, message):
    with pytest.raises(boat.StructureError, match=message):
        boat.es_grad(argnums=argnums)(lambda *given: 1.0)(*arguments)


def test_a_second_derivative_is_refused_by_name():
    @boat.es_grad()
    def black_box(x):
        return curved(x)

    x = jt.array(AT, dtype="float64")
    with pytest.raises(boat.SecondOrderError, match=r"black_box: Jittor does not differentiate its gradient"):
        boat.grad(black_box)(x)
    assert_close(
        boat.grad(black_box, second_order_guard="off")(x),
        estimate(curved, AT, sigma=0.01, seed=[0, 1])[0],
        1e-12,
    )


def test_an_error_during_a_derivative_reaches_the_caller():
    decorated = boat.es_grad(samples=2)(lambda x: float("nan") if (x != np.ones(2)).numpy().any() else 0.0)
    x = jt.array(np.ones(2))
    with pytest.raises(boat.NonFiniteError, match=r"sample 0 of 2, x \+ σu"):
        jt.grad(decorated(x), x)
