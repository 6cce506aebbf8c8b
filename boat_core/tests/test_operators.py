"""Our array operators: correct up to the third derivative, equal to Jittor's, and active only inside objectives."""

from __future__ import annotations

from dataclasses import dataclass

import jittor as jt
import numpy as np
import pytest
from jittor import nn

from boat_core.autodiff import derivatives
from boat_core.autodiff.evaluation import evaluating
from boat_core.autodiff.operators import library
from boat_core.testing import assert_close

pytestmark = pytest.mark.usefixtures("single_operators")

CLASSES = np.array([1, 3, 0], "int32")
H = 1e-5


@dataclass
class Case:
    """A call in Jittor's API, the shapes of its differentiable inputs, and the operators that should serve it."""

    call: object
    shapes: list
    uses: set
    plain: object = None  # what to compare values with where Jittor's own is not right in float64


def conv(groups, stride, padding, dilation, bias=False, channels=6):
    def call(x, w, *b):
        return nn.conv2d(x, w, *(b or (None,)), stride=stride, padding=padding, dilation=dilation, groups=groups)

    shapes = [(2, 4, 7, 6), (channels, 4 // groups, 3, 2), *([(channels,)] if bias else [])]
    return Case(call, shapes, {"conv2d", "bias_add"} if bias else {"conv2d"})


def entropy(classes=CLASSES, **options):
    return lambda z: nn.cross_entropy_loss(z, jt.array(classes), **options)


def weights(z):
    return nn.cross_entropy_loss(z, jt.array(CLASSES), weight=jt.array([1.0, 2.0, 0.5, 3.0]).cast(z.dtype))


def whole_windows(x):
    """Average pooling that divides by the whole window, including the part in the padding."""
    padded = nn.pad(x, [1, 1, 1, 1])
    return sum(padded[:, :, i : i + 5 : 2, j : j + 5 : 2] for i in range(3) for j in range(3)) / 9.0


IMAGE = [(2, 3, 6, 5)]
CASES = {
    "a @ b": Case(lambda a, b: a @ b, [(3, 5), (5, 4)], {"matmul"}),
    "jt.matmul, batch @ matrix": Case(jt.matmul, [(2, 3, 5), (5, 4)], {"matmul"}),
    "matrix @ batch": Case(jt.matmul, [(3, 5), (2, 5, 4)], {"matmul"}),
    "batch @ batch": Case(jt.matmul, [(2, 3, 5), (2, 5, 4)], {"matmul"}),
    "broadcast batches": Case(jt.matmul, [(2, 1, 3, 5), (3, 5, 4)], {"matmul"}),
    "matrix @ vector": Case(jt.matmul, [(3, 5), (5,)], {"matmul"}),
    "vector @ matrix": Case(jt.matmul, [(5,), (5, 4)], {"matmul"}),
    "nn.bmm": Case(nn.bmm, [(2, 3, 5), (2, 5, 4)], {"matmul"}),
    "nn.linear": Case(nn.linear, [(2, 3, 5), (4, 5), (4,)], {"matmul", "bias_add"}),
    "x + bias": Case(lambda x, b: (x + b) * (b + x), [(3, 4), (4,)], {"bias_add"}),
    "x.tanh": Case(lambda x: x.tanh(), [(3, 4)], {"tanh"}),
    "of a slice": Case(lambda x: x[:2].sigmoid(), [(4,)], {"logistic"}),  # its gradient is written into zeros in place
    "jt.sigmoid": Case(jt.sigmoid, [(3, 4)], {"logistic"}),
    "nn.gelu": Case(nn.gelu, [(3, 4)], {"gelu"}),
    "nn.relu": Case(nn.relu, [(3, 4)], {"relu"}),
    "nn.ReLU": Case(lambda x: nn.ReLU()(x), [(3, 4)], {"relu"}),
    "nn.leaky_relu": Case(lambda x: nn.leaky_relu(x, 0.3), [(3, 4)], {"relu"}),
    "nn.GELU": Case(lambda x: nn.GELU()(x), [(3, 4)], {"gelu"}),
    "nn.softplus": Case(nn.softplus, [(3, 4)], {"softplus"}),
    "nn.Softplus(2, 1)": Case(lambda x: nn.Softplus(2.0, 1.0)(x), [(3, 4)], {"softplus"}),
    "nn.softmax": Case(lambda x: nn.softmax(x, dim=-1), [(3, 4)], {"softmax"}),
    "nn.Softmax of 3 axes": Case(lambda x: nn.Softmax(2)(x), [(2, 3, 4)], {"softmax"}),
    "cross-entropy": Case(entropy(), [(3, 4)], {"cross_entropy"}),
    "cross-entropy, none": Case(entropy(reduction="none"), [(3, 4)], {"cross_entropy"}),
    "cross-entropy, sum": Case(entropy(reduction="sum"), [(3, 4)], {"cross_entropy"}),
    "cross-entropy, ignored": Case(entropy(ignore_index=3), [(3, 4)], {"cross_entropy"}),
    "cross-entropy, no class": Case(entropy(np.array([1, -1, 7], "int64")), [(3, 4)], {"cross_entropy"}),
    "cross-entropy, weights": Case(weights, [(3, 4)], {"cross_entropy"}),
    "cross-entropy of images": Case(entropy(np.arange(12).reshape(2, 2, 3) % 4), [(2, 4, 2, 3)], {"cross_entropy"}),
    "nn.conv2d": conv(1, 1, 0, 1, bias=True),
    "strides and padding": conv(1, (2, 1), (1, 2), 1),
    "groups and dilation": conv(2, 2, 2, (2, 1)),
    "depthwise": conv(4, 1, 1, 1, channels=8),
    "tanh(a @ b + c)": Case(lambda a, b, c: jt.tanh(a @ b + c), [(4, 3), (3, 2), (2,)], {"matmul", "bias_add", "tanh"}),
    "tanh(a @ b)": Case(lambda a, b: (a @ b).tanh(), [(4, 3), (3, 2)], {"matmul", "tanh"}),
    "max pooling": Case(lambda x: nn.max_pool2d(x, 2), IMAGE, {"max_index", "gather"}),
    "max pooling, all options": Case(
        lambda x: nn.MaxPool2d((3, 2), (2, 2), (1, 0), ceil_mode=True)(x), IMAGE, {"max_index", "gather"}
    ),
    "max pooling with indices": Case(
        lambda x: nn.max_pool2d(x, 2, return_indices=True)[0], IMAGE, {"max_index", "gather"}
    ),
    "min pooling": Case(lambda x: nn.pool(x, 2, "minimum"), IMAGE, {"max_index", "gather"}),
    "max pooling of volumes": Case(lambda x: nn.max_pool3d(x, 2), [(1, 2, 4, 3, 5)], {"max_index", "gather"}),
    "average pooling": Case(lambda x: nn.avg_pool2d(x, 3, 2, 1), IMAGE, {"average_pool"}, whole_windows),
    "average pooling, ceil": Case(lambda x: nn.avg_pool2d(x, 3, 2, 1, ceil_mode=True), IMAGE, {"average_pool"}),
    "average pooling of volumes": Case(
        lambda x: nn.AvgPool3d(2, ceil_mode=True)(x), [(1, 2, 4, 3, 5)], {"average_pool"}
    ),
}


class Spy:
    """The operators, and a record of the ones that were called."""

    def __init__(self):
        self.ops, self.used = library.operators(), set()
        assert self.ops is not None, "the operators did not compile"

    def __getattr__(self, name):
        if name != "served":
            self.used.add(name)
        return getattr(self.ops, name)


def arrays(shapes, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    return [jt.array(rng.normal(size=shape).astype(dtype), dtype=dtype) for shape in shapes]


def evaluate(case, inputs):
    """Evaluate a call inside an objective, by our operators alone."""
    spy = Spy()
    with evaluating(native=spy, guard="error"):
        value = case.call(*inputs)
    assert spy.used == case.uses
    return value


def functional(case, values, directions, weights, level):
    """A number F_level of the inputs, and its slope along the directions.

    F₀ = ⟨weights, value²⟩, F_{k+1} = ⟨∇F_k, direction + ∇F_k / 2⟩: squares, as else a linear operator has no second
    derivative to lose, and one whose cotangents are constants none to pass on.
    """
    inputs = [jt.array(v, dtype="float64") for v in values]
    value = evaluate(case, inputs)
    with evaluating(native=True):  # else Jittor rounds what stands beside a Python number to float32
        total = (value * value * weights).sum()
        for _ in range(level):
            slopes = jt.grad(total, inputs, retain_graph=True)
            total = sum((s * (d + 0.5 * s)).sum() for s, d in zip(slopes, directions))
        slope = sum((s * d).sum() for s, d in zip(jt.grad(total, inputs, retain_graph=True), directions))
    return float(total.numpy().ravel()[0]), float(slope.numpy().ravel()[0])


@pytest.mark.parametrize("name", CASES)
def test_three_derivatives_agree_with_central_differences(name):
    case = CASES[name]
    values = [0.5 * x.numpy() for x in arrays(case.shapes)]
    directions = arrays(case.shapes, seed=1)
    weights = arrays([tuple(evaluate(case, arrays(case.shapes)).shape)], seed=2)[0]
    for level in range(3):
        _, exact = functional(case, values, directions, weights, level)
        low, high = (
            functional(case, [v + h * d.numpy() for v, d in zip(values, directions)], directions, weights, level)[0]
            for h in (-H, H)
        )
        assert exact == pytest.approx((high - low) / (2 * H), rel=1e-6, abs=1e-6), f"derivative {level + 1}"


def mixed_derivatives(case, dtypes):
    """Return ∇ F and ∇² F · d of F = ⟨weights, value + value²⟩. The weights are float64, the inputs as `dtypes` say."""
    names = [dtypes[place % len(dtypes)] for place in range(len(case.shapes))]
    inputs = [x.cast(name) for x, name in zip(arrays(case.shapes), names)]
    directions = arrays(case.shapes, seed=1)
    with evaluating(native=True, guard="error"):
        value = case.call(*inputs)
        weights = arrays([tuple(value.shape)], seed=2)[0]
        slopes = derivatives.gradient(((value + value * value) * weights).sum(), inputs)
    pulled = derivatives.vjp(slopes, directions, inputs)
    assert [str(x.dtype) for x in (*slopes, *pulled)] == 2 * names
    return [x.numpy() for x in (*slopes, *pulled)]


@pytest.mark.parametrize("name", CASES)
def test_dtypes_meet(name):
    """A float64 cotangent reaches a float32 operator, and operands have different dtypes."""
    case = CASES[name]
    truth = mixed_derivatives(case, ["float64"])
    for dtypes in (["float32"], ["float32", "float64"], ["float64", "float32"])[: 1 if len(case.shapes) == 1 else 3]:
        for ours, right in zip(mixed_derivatives(case, dtypes), truth):
            assert_close(ours, right, 1e-4)


def test_an_operator_of_two_dtypes_is_refused():
    """No way leads there from an objective; memory must not be read as another dtype all the same."""
    a, b = arrays([(3, 5), (5, 4)])
    with pytest.raises(RuntimeError, match="float64.*float32.*cast one of the arrays"):
        library.operators().matmul(a, b.float32(), False, False)


@pytest.mark.parametrize("name", CASES)
def test_values_equal_those_of_jittor(name):
    case = CASES[name]
    double = evaluate(case, arrays(case.shapes)).numpy()
    single = evaluate(case, arrays(case.shapes, "float32")).numpy()
    assert (double.dtype, single.dtype) == (np.float64, np.float32)
    with evaluating(native=False):
        plain = (case.plain or case.call)(*arrays(case.shapes)).numpy()
    assert plain.shape == double.shape
    # Jittor's ceil-mode averages and means of losses are float32 inside
    np.testing.assert_allclose(double, plain, rtol=1e-6 if name.startswith(("average", "cross")) else 1e-12)
    np.testing.assert_allclose(single, double, rtol=2e-5, atol=2e-6)


SHAPES = [(1, 1, 1), (1, 7, 3), (17, 1, 5), (5, 33, 1), (64, 65, 66), (270, 257, 261), (0, 4, 3), (4, 3, 0), (3, 0, 4)]


@pytest.mark.parametrize(("m", "k", "n"), SHAPES)
def test_products_of_odd_shapes(m, k, n):
    ops, rng = library.operators(), np.random.default_rng(0)
    for dtype, rtol in (("float64", 1e-12), ("float32", 1e-4)):
        a, b = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)
        for flip_a in (False, True):
            for flip_b in (False, True):
                left, right = (jt.array(x.T.copy() if f else x, dtype=dtype) for x, f in ((a, flip_a), (b, flip_b)))
                product = ops.matmul(left, right, flip_a, flip_b).numpy()
                assert product.shape == (m, n)
                np.testing.assert_allclose(product, a @ b, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_empty_batch_has_zero_loss_and_gradients(dtype):
    kernel, bias, w = arrays([(3, 2, 3, 3), (3,), (12, 4)], dtype)
    images, classes = jt.zeros((0, 2, 6, 6), dtype=dtype), jt.zeros((0,), dtype="int32")
    with evaluating(native=True):
        hidden = nn.softplus(nn.max_pool2d(nn.conv2d(images, kernel, bias), 2)).reshape((0, 12))
        value = nn.cross_entropy_loss(nn.softmax(nn.gelu(hidden @ w), dim=-1), classes, reduction="sum")
    slopes = jt.grad(value, [kernel, bias, w], retain_graph=True)
    seconds = jt.grad(sum((slope * slope).sum() for slope in slopes), [kernel, bias, w])
    assert value.numpy().tolist() == [0.0]
    assert all(not slope.numpy().any() for slope in slopes + seconds)


def test_slices_and_transposes_have_the_right_values():
    x, w = arrays([(6, 8), (4, 3)])
    with evaluating(native=True):
        value = x[1:5, 2:6].transpose(1, 0) @ w
    np.testing.assert_allclose(value.numpy(), x.numpy()[1:5, 2:6].T @ w.numpy(), rtol=1e-12)


def test_nan_and_infinity_are_kept():
    x = jt.array(np.array([[1.0, np.nan, -np.inf, np.inf]] * 3), dtype="float64")
    images = jt.array(np.array([1.0, np.nan, 3.0, 2.0, 0.0, 0.0, 4.0, 5.0, 9.0]).reshape(1, 1, 3, 3), dtype="float64")
    with evaluating(native=True):
        np.testing.assert_array_equal(x.tanh().numpy()[0], [np.tanh(1.0), np.nan, -1.0, 1.0])
        np.testing.assert_array_equal(x.sigmoid().numpy()[0, 1:], [np.nan, 0.0, 1.0])
        np.testing.assert_array_equal(nn.relu(x).numpy()[0], [1.0, np.nan, 0.0, np.inf])
        assert np.isnan(nn.cross_entropy_loss(x, jt.array(CLASSES), reduction="none").numpy()).all()
        assert np.isnan(nn.softmax(x, dim=-1).numpy()).all()
        assert np.isnan(nn.max_pool2d(images, 2).numpy()).all()


def test_outside_an_objective_and_switched_off_jittor_computes_everything():
    a, b = arrays([(3, 5), (5, 4)])
    image = arrays(IMAGE)[0]
    calls = [lambda: a @ b, lambda: a.tanh(), lambda: nn.softmax(a, dim=-1), lambda: nn.max_pool2d(image, 2)]
    graphs = [call().numpy() for call in calls]
    spy = Spy()
    with evaluating(native=False):
        for call, graph in zip(calls, graphs):
            np.testing.assert_array_equal(call().numpy(), graph)
    with evaluating(native=spy):
        a @ b
    assert spy.used == {"matmul"}  # else the spy would see nothing above either


@pytest.mark.parametrize(
    "call",
    [
        lambda a: a @ a,
        lambda a: jt.matmul(a, 3),
        lambda a: nn.linear(a, a.transpose(1, 0)),
        lambda a: nn.max_pool2d(a.reshape((1, 1, 3, 5)), 7),
        lambda a: nn.Conv(2, 3, 1)(a.reshape((1, 1, 3, 5))),
        lambda a: nn.softplus(a, beta="x"),
        lambda a: nn.softmax(a, dim=5),
    ],
)
def test_errors_agree_with_jittor(call):
    a = arrays([(3, 5)])[0]
    with pytest.raises(Exception) as plain:  # noqa: PT011 (whatever Jittor raises)
        call(a).sync()
    with pytest.raises(type(plain.value)) as routed, evaluating(native=True):
        call(a).sync()
    assert str(routed.value).splitlines()[:1] == str(plain.value).splitlines()[:1]


def test_unsupported_dtypes_go_to_jittor():
    half, whole = jt.ones((2, 3)).float16(), jt.ones((2, 3), dtype="int32")
    spy = Spy()
    with evaluating(native=spy):
        half @ half.transpose(1, 0)
        whole + whole[0]
        nn.softmax(jt.ones((2, 3)), dim=0)
    assert not spy.used


def meeting(a, b, w):
    """Gradients in which products, spread rows and arrays meet at one variable."""
    with evaluating(native=True):
        h = jt.tanh(a @ w + b)
        loss = (h @ w.transpose() * a).sum() + (h * h + b).sum() + (a.transpose() @ h * w).sum() + (w @ w * w).mean()
    return derivatives.gradient(loss, [a, b, w])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_a_vjp_equals_that_of_jittor(dtype, tolerance):
    inputs = arrays([(6, 4), (4,), (4, 4)], dtype)
    (unreached,) = arrays([(3,)], dtype)
    outputs = [*meeting(*inputs), inputs[0], inputs[0]]  # a target among them, and twice
    cotangents = arrays([tuple(out.shape) for out in outputs], dtype, seed=1)
    targets = [*inputs, unreached]
    truth = jt.grad(derivatives.inner(outputs, cotangents), targets, retain_graph=True)
    found = derivatives.vjp(outputs, cotangents, targets)
    assert not found[-1].numpy().any()
    for ours, theirs in zip(found, truth):
        assert_close(ours, theirs.numpy(), tolerance)
        assert not jt.grad(ours.sum(), inputs)[0].numpy().any(), "the results are detached"


def test_a_product_that_is_used_twice_has_right_derivatives():
    x, w, b = arrays([(5, 3), (3, 3), (3,)])
    with evaluating(native=True):
        product = x @ w
        first = product + b  # the bias goes into a product of its own
        second = product * 2.0 + first
    assert_close(second, 3 * x.numpy() @ w.numpy() + b.numpy(), 1e-12)
    by_bias, by_w = jt.grad(second.sum(), [b, w])
    assert_close(by_bias, np.full(3, 5.0), 1e-12)
    assert_close(by_w, np.repeat(3 * x.numpy().sum(axis=0)[:, None], 3, axis=1), 1e-12)
