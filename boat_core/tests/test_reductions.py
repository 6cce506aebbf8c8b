"""Products with zeros, and ties of max and min, have the right derivatives inside an objective."""

from __future__ import annotations

import jittor as jt
import numpy as np
import pytest
from jittor import nn

import boat_core as boat

pytestmark = pytest.mark.usefixtures("single_operators")


def gradient(function, values, dtype="float64"):
    value, result = boat.value_and_grad(function)(np.array(values, dtype))
    return value.numpy().ravel().tolist(), result.numpy().tolist()


def hessian(function, values):
    """The second derivatives, as the gradient of each entry of the gradient."""
    values = np.array(values, "float64")
    first, units = boat.grad(function), [jt.array(e, dtype="float64") for e in np.eye(values.size)]
    row = boat.value_and_grad(lambda y, unit: (first(y) * unit).sum())
    return np.array([row(values, unit)[1].numpy() for unit in units])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("values", "right"),
    [
        ([1, 0, 2], [0, 2, 0]),
        ([0, 0, 2], [0, 0, 0]),
        ([3, 1, 2], [2, 6, 3]),
        ([0], [1]),
        ([0, 5], [5, 0]),
        ([2, 3, 0, 5, 7], [0, 0, 210, 0, 0]),
    ],
)
def test_product(values, right, dtype):
    assert gradient(lambda y: y.prod(), values, dtype) == ([float(np.prod(values))], right)
    assert gradient(lambda y: jt.prod(y), values, dtype)[1] == right
    assert gradient(lambda y: y.reduce("multiply"), values, dtype)[1] == right


@pytest.mark.parametrize(
    ("reduce", "right"),
    [
        (lambda y: y.prod(1), [[2, 0], [4, 3]]),
        (lambda y: y.prod(dim=0), [[3, 4], [0, 2]]),
        (lambda y: y.prod(-1, keepdims=True), [[2, 0], [4, 3]]),
        (lambda y: y.prod((0, 1)), [[24, 0], [0, 0]]),
        (lambda y: y.prod(dims=[1, 0], keepdims=True), [[24, 0], [0, 0]]),
    ],
)
def test_product_along_axes(reduce, right):
    assert gradient(lambda y: reduce(y).sum(), [[0, 2], [3, 4]])[1] == right


@pytest.mark.parametrize("values", [[1, 0, 2], [0, 0, 2], [3, 1, 2], [0, 0, 0, 4], [5, 0, 0, 2, 3]])
def test_second_derivatives_of_a_product(values):
    def entry(i, j):
        return 0.0 if i == j else float(np.prod([v for k, v in enumerate(values) if k not in (i, j)]))

    n = range(len(values))
    np.testing.assert_allclose(hessian(lambda y: y.prod(), values), [[entry(i, j) for j in n] for i in n], atol=1e-12)


def test_a_product_keeps_nan_and_numbers_outside_of_objectives():
    with pytest.raises(boat.NonFiniteError):
        boat.value_and_grad(lambda y: y.prod())(np.array([np.nan, 0.0]))
    y = jt.array([1.5, 2.5])
    assert jt.grad(y.prod(), y).numpy().tolist() == [2.5, 1.5]


TIES = {
    "max": (lambda y: y.max(), [1, 1, 1], [1 / 3] * 3),
    "min": (lambda y: y.min(), [1, 1, 3], [0.5, 0.5, 0]),
    "jt.max": (lambda y: jt.max(y), [2, 1, 2], [0.5, 0, 0.5]),
    "jt.min": (lambda y: jt.min(y, 0), [2, 1, 2], [0, 1, 0]),
    "rows": (lambda y: y.min(1), [[1, 1], [0, 2]], [[0.5, 0.5], [1, 0]]),
    "columns": (lambda y: y.max(dim=0, keepdims=True), [[1, 1], [1, 2]], [[0.5, 0], [0.5, 1]]),
    "last": (lambda y: y.max(-1), [[1, 1], [0, 2]], [[0.5, 0.5], [0, 1]]),
    "both": (lambda y: y.max((0, 1)), [[1, 1], [1, 1]], [[0.25, 0.25], [0.25, 0.25]]),
    "dims": (lambda y: y.max(dims=[0, 1]), [[3, 1], [1, 3]], [[0.5, 0], [0, 0.5]]),
    "reduce": (lambda y: y.reduce("maximum", [1]), [[1, 1], [0, 2]], [[0.5, 0.5], [0, 1]]),
    "one": (lambda y: y.max(), [4], [1]),
    "unique": (lambda y: y.max(), [4, 5, 3], [0, 1, 0]),
    "infinity": (lambda y: jt.minimum(y.max(), 3.0), [-np.inf, 2, 2], [0, 0.5, 0.5]),
    "adaptive pool": (
        lambda y: nn.AdaptiveMaxPool2d(1)(y.reshape((1, 1, 2, 2))),
        [[1, 1], [1, 0]],
        [[1 / 3, 1 / 3], [1 / 3, 0]],
    ),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", TIES)
def test_ties_share_one_derivative(case, dtype):
    function, values, right = TIES[case]
    np.testing.assert_allclose(gradient(lambda y: function(y).sum(), values, dtype)[1], right, rtol=1e-7)


def test_softmax_of_ties_is_as_before():
    def f(y):
        return (nn.log_softmax(y, dim=0) * y.exp())[0].sum()

    y = jt.array(np.array([[0.3, 0.3], [0.3, -1.0], [0.1, 0.2]], "float32"))
    assert gradient(f, y.numpy(), "float32")[1] == jt.grad(f(y), y).numpy().tolist()


def test_value_of_ties_is_exact_and_second_derivatives_are_right():
    values = [0.1, 0.3, 0.3, 0.3]
    assert gradient(lambda y: y.max(), values)[0] == [0.3]
    # (max y)² has the second derivative 2 wᵢwⱼ for the weights w of the maximum.
    for values, weights in (([1, 3, 2], [0, 1, 0]), ([3, 3, 2], [0.5, 0.5, 0])):
        np.testing.assert_allclose(hessian(lambda y: y.max() ** 2, values), 2 * np.outer(weights, weights))
        np.testing.assert_allclose(hessian(lambda y: (y * y).max(), values), 2 * np.diag(weights))


SINGLE = {
    "sum": lambda y: (y * y).sum() + 0.5 * y.sum(),
    "mean": lambda y: (y * y).mean() + 0.5 * y.mean(),
    "max": lambda y: (y * y).max() + 0.5 * y.min(),
    "prod": lambda y: (y * y).prod() + 0.5 * y.prod(),
    "keepdims": lambda y: (y * y).sum(0, keepdims=True) + 0.5 * y.mean(0, True),
    "two axes": lambda y: (y * y).reshape((1, 1)).sum(1) + 0.5 * y.reshape((1, 1)).sum(),
    "reduce": lambda y: (y * y).reduce("add") + 0.5 * jt.sum(y),
}


@pytest.mark.fused
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", SINGLE)
def test_arrays_with_one_entry(case, dtype):
    assert gradient(SINGLE[case], [1.0], dtype) == ([1.5], [2.5])


@pytest.mark.fused
def test_a_solver_of_one_number():
    problem = boat.Problem(
        lambda x, y, b: (y * y).sum() + 0.5 * y.sum(), lambda x, y, b: ((y - x) ** 2).sum(), np.ones(1), np.ones(1)
    )
    solver = boat.Solver(
        problem, method="RHG", lower_steps=1, lower_optimizer=boat.sgd(0.5), upper_optimizer=boat.sgd(0.1)
    )
    assert solver.hypergradient().upper.numpy().tolist() == [2.5]


def test_shapes_of_reductions_of_one_number():
    y = np.ones((1, 1, 1))
    for arguments, shape in (((), [1]), ((0,), [1, 1]), (((0, 1),), [1]), ((1, True), [1, 1, 1])):
        for name in ("sum", "mean", "max", "min", "prod"):
            shapes = []
            boat.value_and_grad(lambda y: shapes.append(list(getattr(y, name)(*arguments).shape)) or y.sum())(y)  # noqa: B023
            assert shapes == [shape], (name, arguments)


MANY = 10**6


def of(values, like):
    return jt.array(np.broadcast_to(values, np.shape(values)).astype(str(like.dtype)), dtype=str(like.dtype))


def rows(like, width=4):
    return of(np.random.default_rng(1).random((MANY // width, width), dtype="float32"), like)


def image(like):
    return rows(like).reshape((4, 1, 500, 500))


#: The shape of y, and a function of it that adds up a million numbers, or whose derivatives do.
LONG = {
    "sum": ((MANY,), lambda y: y.sum()),
    "mean": ((MANY,), lambda y: jt.mean(y * y)),
    "reduce": ((MANY,), lambda y: (y * y).reduce("mean") + y.reduce("add")),
    "norm": ((MANY,), lambda y: y.norm()),
    "std": ((2, MANY), lambda y: (y * of([[1.0], [2.0]], y)).std()),
    "columns": ((MANY // 4, 4), lambda y: (y.mean(0) ** 2).sum() + (y.sum(dim=0, keepdims=True) ** 2).mean()),
    "rows": ((4, MANY // 4), lambda y: (y.sum(1) ** 2).sum()),
    "axes": ((100, 4, MANY // 400), lambda y: (y.sum((0, 2)) ** 2).sum()),
    "logsumexp": ((2, MANY), lambda y: ((y * of([[1.0], [2.0]], y)).exp().sum(1).log() ** 2).sum()),
    "cross entropy": ((1, MANY), lambda y: nn.cross_entropy_loss(y, jt.array(np.zeros(1, "int32")))),
    "mse": ((MANY,), lambda y: nn.mse_loss(y, y.detach() * 0.5)),
    "integers": ((1,), lambda y: y.sum() * (jt.array(np.full(MANY, 3, "int32"))).mean()),
    "scalar": ((1,), lambda y: ((y * rows(y)).exp()).mean()),
    "bias": ((4,), lambda y: ((y + rows(y)) ** 2).mean()),
    "factor": ((1, 4), lambda y: ((y * rows(y)) ** 2).sum()),
    "broadcast": ((4,), lambda y: (y.broadcast((MANY // 4, 4), [0]) ** 3).mean()),
    "index": ((4,), lambda y: (y[jt.array((np.arange(MANY) % 4).astype("int32"))] ** 2).mean()),
    "outer": ((1000,), lambda y: (y.reshape((-1, 1)) * y.reshape((1, -1))).sum()),
    "dot": ((MANY,), lambda y: jt.matmul(y.reshape((1, -1)), y.reshape((-1, 1))).sum()),
    "vector": ((4, MANY // 4), lambda y: ((y @ of(np.full(MANY // 4, 0.7), y)) ** 2).sum()),
    "weights": ((4, 3), lambda y: (jt.tanh(rows(y) @ y) ** 2).mean()),
    "layer": ((20, 18), lambda y: (nn.linear(rows(y, 18), y, y[:, 0]) ** 2).mean()),
    "convolution": (
        (2, 1, 3, 3),
        lambda y: (nn.conv2d(image(y), y, y[:, 0, 0, 0]) ** 2).mean(),
    ),
    "pooling": ((1, 1, 1000, 1000), lambda y: (nn.pool(y, 999, "mean", stride=1) ** 2).sum()),
}


@pytest.mark.parametrize("case", LONG)
def test_many_float32_numbers_are_added_up_to_their_precision(case):
    """The value, the gradient and a product with second derivatives are those of the same function in float64.

    Equal entries are the worst case: each addition rounds to the same side, and Jittor's own sums lose three digits.
    """
    shape, function = LONG[case]
    rng, first = np.random.default_rng(0), boat.grad(function, second_order_guard="off")
    equal, other, direction = (
        values.astype("float32") for values in (np.full(shape, 0.1), 0.1 * rng.random(shape), rng.normal(size=shape))
    )
    slope = boat.value_and_grad(lambda y: (first(y) * of(direction, y)).sum())
    short, exact = (
        [*boat.value_and_grad(function)(equal.astype(dtype)), slope(other.astype(dtype))[1]]
        for dtype in ("float32", "float64")
    )
    for a, b in zip(short, exact):
        a, b = a.numpy().astype("float64"), b.numpy()
        assert np.linalg.norm(a - b) <= 1e-6 * max(np.linalg.norm(b), 1e-3)


def test_gradients_that_jittor_takes_inside_an_objective_are_precise_too():
    def slope(y):
        return (jt.grad(((y + rows(y)) ** 2).mean(), y) ** 2).sum()

    y = np.full(4, 0.1, "float32")
    short, exact = (boat.value_and_grad(slope)(y.astype(dtype)) for dtype in ("float32", "float64"))
    for a, b in zip(short, exact):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)


def test_short_sums_and_those_outside_of_objectives_stay_jittors_own():
    y = np.random.default_rng(0).normal(size=(60, 60)).astype("float32")
    own = jt.array(y)
    for sum_ in (lambda y: y.sum(), lambda y: y.mean(), lambda y: (y.sum(0) ** 2).sum()):
        assert boat.value_and_grad(sum_)(y)[0].numpy() == sum_(own).numpy()
    ones = jt.ones(MANY)
    plain = ones.mean().numpy()
    assert boat.value_and_grad(lambda y: y.sum() * ones.mean())(np.ones(1, "float32"))[0].numpy() == 1
    assert ones.mean().numpy() == plain
