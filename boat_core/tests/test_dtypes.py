"""Where arrays of different dtypes and numbers meet in an objective, nothing is rounded, wraps around or is misread."""

from __future__ import annotations

import math

import jittor as jt
import numpy as np
import pytest
from jittor import nn

import boat_core as boat
from boat_core.autodiff.evaluation import evaluating
from boat_core.testing import assert_close

pytestmark = pytest.mark.usefixtures("single_operators")

Y = np.array([[0.3, -0.7, 1.1], [0.9, -0.2, 0.4]])
C = np.array([[0.1, 0.7, -1.3], [0.3, 0.2, 1.7]])
ROWS = np.array([0.1, 0.2, 0.7])
ERF = np.vectorize(math.erf)
DENSITY = np.exp(-Y * Y / 2) / math.sqrt(2 * math.pi)
CDF = 0.5 * (1 + ERF(Y / math.sqrt(2)))
ERFINV = np.array([[0.2724627147267543, -0.7328690779592167, 0.4769362762044699]] * 2)  # of 0.3, -0.7, 0.5
SLOPE = math.sqrt(math.pi) / 2 * np.exp(ERFINV**2)


def written(y):
    """Write numbers of all kinds into an array."""
    z = y * 1.0
    z[0] = 0.1
    z[1, 2] = y[0, 0] * 0.7
    z[1, :2] = ROWS[:2]
    return z


def in_place(y):
    z = y * y
    z += 0.1
    z *= 0.3
    z /= 0.7
    z -= ROWS
    return z


# name → (function, values, first and second derivatives, entry by entry); None where they are not of interest
FLOAT64 = {
    "erf": (jt.erf, ERF(Y), 2 / math.sqrt(math.pi) * np.exp(-Y * Y), -4 * Y / math.sqrt(math.pi) * np.exp(-Y * Y)),
    "normal cdf": (lambda y: 0.5 * (1 + (y / math.sqrt(2)).erf()), CDF, DENSITY, -Y * DENSITY),
    "gelu": (nn.gelu, Y * CDF, CDF + Y * DENSITY, (2 - Y * Y) * DENSITY),
    "erfinv": (
        lambda y: jt.erfinv(y * 0 + [0.3, -0.7, 0.5] + (y - jt.array(Y))),
        ERFINV,
        SLOPE,
        2 * ERFINV * SLOPE * SLOPE,
    ),
    "mse_loss": (lambda y: nn.mse_loss(y, jt.array(C)), ((Y - C) ** 2).mean(), (Y - C) / 3, np.full((2, 3), 1 / 3)),
    "adaptive average": (
        lambda y: nn.AdaptiveAvgPool2d(1)(y.reshape((1, 1, 2, 3))) ** 2,
        Y.mean() ** 2,
        np.full((2, 3), Y.mean() / 3),
        None,
    ),
    "maximum": (lambda y: jt.maximum(y, 0.1) + jt.minimum(0.3, y), np.maximum(Y, 0.1) + np.minimum(Y, 0.3), None, None),
    "clamp": (lambda y: jt.clamp(y, -0.1, 0.7), np.clip(Y, -0.1, 0.7), None, None),
    "where": (lambda y: jt.where(y > 0.1, y, 0.7), np.where(Y > 0.1, Y, 0.7), None, None),
    "compared": (lambda y: y * (y == 1.1) + (y >= 0.3), Y * (Y == 1.1) + (Y >= 0.3), None, None),
    "masked_fill": (lambda y: y.masked_fill(y > 0.3, 0.7), np.where(Y > 0.3, 0.7, Y), None, None),
    "functions": (
        lambda y: jt.multiply(y, 0.1) + y.divide(0.7) - jt.subtract(0.1, y).add(0.3),
        Y * 0.1 + Y / 0.7 - (0.1 - Y) - 0.3,
        np.full((2, 3), 0.1 + 1 / 0.7 + 1),
        None,
    ),
    "powers": (lambda y: 1.3**y, 1.3**Y, math.log(1.3) * 1.3**Y, math.log(1.3) ** 2 * 1.3**Y),
    "modulus": (lambda y: y % 0.37 + 1.1 % y, Y % 0.37 + 1.1 % Y, 1 - np.floor(1.1 / Y), None),
    "floor division": (lambda y: y * (y // 0.37), Y * (Y // 0.37), Y // 0.37, None),
    "numpy arrays": (lambda y: C * y + ROWS - y / C, C * Y + ROWS - Y / C, C - 1 / C, None),
    "numpy numbers": (lambda y: np.float64(0.1) * y + np.int64(3) / y, 0.1 * Y + 3 / Y, 0.1 - 3 / Y**2, 6 / Y**3),
    "lists": (lambda y: y * [0.1, 0.2, 0.7], Y * ROWS, np.tile(ROWS, (2, 1)), None),
    "large integers": (lambda y: y * 3_000_000_019 / np.array([3_000_000_019]), Y, np.ones((2, 3)), None),
    "filled": (
        lambda y: y * jt.full_like(y, 0.1) + jt.full((2, 3), 0.7),
        Y * 0.1 + 0.7,
        np.full((2, 3), 0.1),
        None,
    ),
    "ranges": (
        lambda y: y * jt.arange(0.1, 0.35, 0.1, dtype="float64") + jt.linspace(0.1, 0.7, 3),
        Y * [0.1, 0.2, 0.3] + [0.1, 0.4, 0.7],
        None,
        None,
    ),
    "jt.array": (lambda y: y * jt.array(C) + jt.array(0.1) + jt.array([0.3]), Y * C + 0.1 + 0.3, C, None),
    "functions of numbers": (lambda y: y * jt.sqrt(2.0) + jt.log(3), Y * math.sqrt(2) + math.log(3), None, None),
    "arctan2": (lambda y: jt.arctan2(jt.array(C), y), np.arctan2(C, Y), -C / (C * C + Y * Y), None),
    "density": (
        lambda y: jt.distributions.Normal(0.1, 0.3).log_prob(y),
        -((Y - 0.1) ** 2) / 0.18 - math.log(0.3) - 0.5 * math.log(2 * math.pi),
        (0.1 - Y) / 0.09,
        np.full((2, 3), -1 / 0.09),
    ),
    "writing": (
        written,
        [[0.1, 0.1, 0.1], [0.1, 0.2, 0.3 * 0.7]],
        [[0.7, 0, 0], [0, 0, 0]],
        None,
    ),
    "in place": (in_place, (Y * Y + 0.1) * 0.3 / 0.7 - ROWS, 0.6 * Y / 0.7, np.full((2, 3), 0.6 / 0.7)),
    "integers": (
        lambda y: y * (jt.array(np.arange(3)) / 3.0),
        Y * np.arange(3) / 3,
        np.tile(np.arange(3) / 3, (2, 1)),
        None,
    ),
    "quotients of integers": (
        lambda y: y * (jt.array(np.arange(3)) / jt.array(np.full(3, 7)) + 1 / jt.array(np.full(3, 3))),
        Y * (np.arange(3) / 7 + 1 / 3),
        None,
        None,
    ),
    "truth values": (lambda y: y * (0.1 * (y > 0.1)), Y * 0.1 * (Y > 0.1), 0.1 * (Y > 0.1), None),
    "ceil_mode": (
        lambda y: nn.avg_pool2d(y.reshape((1, 1, 2, 3)), (1, 2), (1, 2), ceil_mode=True)[0, 0],
        np.stack([Y[:, :2].mean(1), Y[:, 2]], 1),
        np.tile([0.5, 0.5, 1.0], (2, 1)),
        None,
    ),
}


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("name", FLOAT64)
def test_float64_keeps_its_digits(name, native):
    function, value, slope, bend = FLOAT64[name]
    y = jt.array(Y, dtype="float64")
    with evaluating(native=native, guard="error", point=[y]):
        result = function(y)
        gradient = jt.grad(result.sum(), y, retain_graph=True)
        second = jt.grad(gradient.sum(), y)
    assert str(result.dtype) == str(gradient.dtype) == "float64"
    assert_close(result.reshape(np.shape(value) or (1,)), np.reshape(value, np.shape(value) or (1,)), 1e-14)
    if slope is not None:
        assert_close(gradient, np.asarray(slope), 1e-13)
    if bend is not None:
        assert_close(second, np.asarray(bend), 1e-13)


def test_what_is_float32_inside_is_refused():
    with pytest.raises(boat.ObjectiveError, match=r"digamma.*float32.*float64.*x\.float32\(\)"):
        boat.value_and_grad(lambda y: jt.digamma.apply(y).sum())(np.ones(3))


INTEGERS = {
    "u / 255.0": (lambda u: u / 255.0, lambda u: u / 255.0),
    "0.1 * u": (lambda u: 0.1 * u, lambda u: 0.1 * u),
    "0.5 - u": (lambda u: 0.5 - u, lambda u: 0.5 - u),
    "u / u": (lambda u: u / (u + 1), lambda u: u / (u + 1)),
    "u ** 0.5": (lambda u: u**0.5, np.sqrt),
    "sqrt": (jt.sqrt, np.sqrt),
    "sigmoid": (lambda u: (u / 100).sigmoid(), lambda u: 1 / (1 + np.exp(-u / 100))),
    "sum": (lambda u: u.sum() * 0.1, lambda u: 0.1 * u.sum()),
    "mean": (jt.mean, np.mean),
    "u + u": (lambda u: (u + u) * 0.5, lambda u: u),
    "u * u": (lambda u: u * u * 0.5, lambda u: 0.5 * u * u),
    "-u": (lambda u: -u * 0.5, lambda u: -0.5 * u),
    "u - 128": (lambda u: (u - 128) / 128, lambda u: (u - 128) / 128),
    "ones * u": (lambda u: jt.ones((4,)) * u, lambda u: u),
    "where": (lambda u: jt.where(u > 2, u, 0.5), lambda u: np.where(u > 2, u, 0.5)),
    "relu": (nn.relu, lambda u: np.maximum(u, 0)),
    "softmax": (lambda u: nn.softmax(u * 0.01, 0), lambda u: np.exp(u * 0.01) / np.exp(u * 0.01).sum()),
    "matmul": (
        lambda u: u.reshape((2, 2)) @ (u.reshape((2, 2)) * 0.5),
        lambda u: u.reshape(2, 2) @ u.reshape(2, 2) / 2,
    ),
    "numpy": (lambda u: u * np.array([0.1, 0.2, 0.3, 0.4], "float32"), lambda u: u * np.array([0.1, 0.2, 0.3, 0.4])),
}


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "bool", "int32"])
@pytest.mark.parametrize("name", INTEGERS)
def test_integers_become_float32(name, dtype):
    if (name, dtype) == ("u + u", "bool"):
        pytest.skip("the sum of truth values is a truth value, as in numpy")
    function, truth = INTEGERS[name]
    values = np.array([200, 3, 0, 127] if dtype != "int8" else [100, -3, 0, 127])
    values = np.maximum(values, 0) if name in ("u ** 0.5", "sqrt", "relu") else values
    values = values.astype(dtype)
    y = jt.array(np.ones(1, "float32"))
    with evaluating(native=True, point=[y]):
        result = function(jt.array(values))
        product = result * y
        gradient = jt.grad(product.sum() * 0.1, y)
    right = truth(values.astype("float64"))
    assert_close(gradient, np.array([0.1 * right.sum()]), 1e-6)
    assert (str(result.dtype), str(product.dtype)) == ("float32", "float32")
    assert_close(product, np.reshape(right, product.shape), 1e-6)


def test_images_in_a_network():
    images = np.random.default_rng(0).integers(0, 256, (3, 4)).astype("uint8")
    net = nn.Linear(4, 2)
    for scaled in (lambda u: u / 255.0, lambda u: u):
        loss = boat.value_and_grad(lambda p, read: (boat.call(net, p, read()) ** 2).mean())
        right = loss(boat.parameters(net), lambda: jt.array(scaled(images).astype("float32")))[1]  # noqa: B023
        ours = loss(boat.parameters(net), lambda: scaled(jt.array(images)))[1]  # noqa: B023
        for name, gradient in ours.items():
            assert_close(gradient, right[name].numpy(), 1e-5)
            assert str(gradient.dtype) == "float32"


def test_float16_beside_numbers():
    """Jittor does not compile a comparison of a float16 array and a number."""
    half = jt.array(np.array([0.5, -0.25]), dtype="float16")
    with evaluating(native=True):
        results = [nn.relu(half) + 0.5, jt.where(half > 0, half, 2) - 0.5 * half, jt.clamp(half, -0.125, 1)]
    for result, right in zip(results, ([1.0, 0.5], [0.25, 2.125], [0.5, -0.125])):
        assert str(result.dtype) == "float16"
        assert result.numpy().tolist() == right


A, B = np.arange(15.0).reshape(5, 3) / 7, np.arange(3.0)[:, None] / 3
KERNEL, IMAGE = np.arange(8.0).reshape(1, 2, 2, 2) / 8, np.arange(18.0).reshape(1, 2, 3, 3) / 9
PRODUCTS = {
    "matrices": (lambda a, b: a @ b, A, B),
    "matrix, vector": (lambda a, b: a @ b, A, B[:, 0]),
    "batches": (lambda a, b: nn.bmm(a, b), A[None], B[None]),
    "a bᵀ": (nn.matmul_transpose, A, B.T),
    "linear": (nn.linear, A, B.T),
    "einsum": (lambda a, b: jt.linalg.einsum("ij,jk->ik", a, b), A, B),
    "conv2d": (nn.conv2d, IMAGE, KERNEL),
    "conv_transpose": (nn.conv_transpose, IMAGE, KERNEL.transpose(1, 0, 2, 3)),
}
DTYPES = [
    ("float32", "float64"),
    ("float64", "float32"),
    ("uint8", "float32"),
    ("float64", "int32"),
    ("float16", "float32"),
]


@pytest.mark.parametrize("dtypes", DTYPES)
@pytest.mark.parametrize("name", PRODUCTS)
def test_products_of_mixed_dtypes(name, dtypes):
    function, *values = PRODUCTS[name]
    values = [value.astype(dtype) for value, dtype in zip(values, dtypes)]
    truth = function(*(jt.array(value.astype("float64"), dtype="float64") for value in values)).numpy()
    inputs = [jt.array(value, dtype=dtype) for value, dtype in zip(values, dtypes)]
    results = [function(*inputs)]  # outside an objective: Jittor's compiler fails on it
    for native in (True, False):
        with evaluating(native=native):
            results.append(function(*inputs))
    for result in results:
        assert str(result.dtype) == ("float64" if "float64" in dtypes else "float32")
        assert_close(result, truth, 1e-6)


def test_layers_of_another_dtype():
    x = jt.array(IMAGE, dtype="float64")
    for layer in (nn.Conv(2, 1, 2), nn.ConvTranspose(2, 1, 2), nn.Conv1d(2, 1, 2)):
        given = x if not isinstance(layer, nn.Conv1d) else x[:, :, 0]
        before = layer(given.float32()).numpy()
        with evaluating(native=True):
            result = layer(given)
        assert (str(result.dtype), str(layer.weight.dtype)) == ("float64", "float32")
        assert_close(result, before, 1e-5)


def test_joined_and_written_arrays_of_mixed_dtypes():
    single, double = jt.array(Y.astype("float32")), jt.array(C, dtype="float64")

    def function(y, x):
        z = jt.concat([y * x, x], dim=0)
        z[1] = y[0]
        return (jt.stack([z[:2], y], dim=0) ** 2 * jt.ternary(x > 0, x, y)).sum()

    def gradients(y, x):
        with evaluating(native=True):
            return jt.grad(function(y, x), [y, x])

    mixed, right = gradients(single, double), gradients(jt.array(Y, dtype="float64"), double)
    assert [str(one.dtype) for one in mixed] == ["float32", "float64"]
    for ours, theirs in zip(mixed, right):
        assert_close(ours, theirs.numpy(), 1e-6)


@pytest.mark.parametrize("dtype", ["float64", "int64", "uint8"])
def test_choices_from_empty_arrays(dtype):
    """Jittor broadcasts without end there, which ends the process."""
    empty = jt.array(np.zeros(0, dtype), dtype=dtype)
    with evaluating(native=True):
        for result in (
            nn.relu(empty),
            jt.where(empty > 0, 0.5, empty),
            nn.leaky_relu(empty),
            jt.clamp(empty, 0.1, 0.5),
        ):
            assert list(result.shape) == [0]


@pytest.mark.fused
def test_one_number_in_a_product_and_in_an_array():
    """The kernel that writes the number for both serves one dtype only, and Jittor does not know which."""

    def function(y):
        return (jt.concat([y, y]) * jt.array([1.0, 2.0])).sum() + (jt.stack([y, y]) ** 2).sum() + (y * y).sum()

    for dtype in ("float32", "float64", "float32"):
        value, gradient = boat.value_and_grad(function)(np.array([0.125], dtype))
        assert_close(value, np.array([0.125 * 3 + 3 * 0.125**2]), 1e-6)
        assert_close(gradient, np.array([3.75]), 1e-6)


def test_vectors_keep_their_dtypes():
    a = boat.Vector.of({"p": np.ones(2, "float32"), "q": np.full(1, 1 / 3)}, "a")
    b = boat.Vector.of({"p": np.full(2, 1 / 3), "q": np.ones(1, "float32")}, "b")
    for vector in (a + b, a - b, a * jt.array(np.array([0.5]), dtype="float64"), a / 3.0):
        vector.check_like(a, "vector")
    assert boat.dot(a, a) == pytest.approx(2 + 1 / 9, rel=1e-15)


def test_functions_of_other_dtypes_give_their_arguments_dtypes():
    """custom_root, unroll and es_grad, where θ is float64 and y float32, and functions return float64."""
    theta = jt.array(np.array([0.5]), dtype="float64")

    @boat.custom_root(lambda y, t: y.float64() ** 3 - t)
    def cube_root(start, t):
        return start * 0 + (t ** (1 / 3)).float32()

    root = cube_root(np.ones(1, "float32"), theta)
    slope = jt.grad((root * theta).sum(), theta)
    assert (str(root.dtype), str(slope.dtype)) == ("float32", "float64")
    assert_close(slope, np.array([4 / 3 * 0.5 ** (1 / 3)]), 1e-5)

    end = boat.unroll(lambda t, z, x: z - 0.1 * (z - x), np.zeros(1, "float32"), theta, 2).end
    slope = jt.grad((end * theta).sum(), theta)
    assert (str(end.dtype), str(slope.dtype)) == ("float32", "float64")
    assert_close(slope, np.array([0.19]), 1e-6)


@pytest.mark.parametrize(
    "optimizer", [boat.sgd(0.1, momentum=0.9), boat.adam(0.1), boat.rmsprop(0.1)], ids=lambda o: o.name
)
def test_optimizers_keep_the_dtype_of_the_parameters(optimizer):
    y, g = jt.array(np.ones(2, "float32")), jt.array(np.ones(2), dtype="float64")
    state = optimizer.init(y)
    for _ in range(2):
        updates, state = optimizer.update(g, state, y)
        y = boat.apply_updates(y, updates)
    kept = [value for value in state.values() if isinstance(value, jt.Var)]
    assert {str(one.dtype) for one in (y, updates, *kept)} == {"float32"}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_module_optimizers_beside_float64(dtype):
    net, x, t = nn.Linear(3, 1), jt.array(Y, dtype=dtype), jt.array(C[:, :1], dtype="float64")
    start = {name: array.numpy() for name, array in boat.parameters(net).items()}
    residual = Y @ start["weight"].T + start["bias"] - C[:, :1]
    gradient = {"weight": residual.T @ Y, "bias": residual.sum(0)}

    def loss():
        return 0.5 * ((net(x) - t) ** 2).sum()

    boat.ModuleOptimizer(net, boat.sgd(0.1)).step(loss)
    for name, array in boat.parameters(net).items():
        assert_close(array, start[name] - 0.1 * gradient[name], 1e-5)
    boat.load(net, {name: jt.array(values) for name, values in start.items()})
    rate = jt.array(np.full(1, 0.1), dtype="float64")
    with boat.MetaOptimizer(net, boat.sgd(rate)) as inner:
        inner.step(loss)
        slope = jt.grad((net.weight * net.weight).sum() + (net.bias * net.bias).sum(), rate)
    expected = sum((-2 * (start[name] - 0.1 * gradient[name]) * gradient[name]).sum() for name in start)
    assert str(slope.dtype) == "float64"
    assert_close(slope, np.array([expected]), 1e-5)
