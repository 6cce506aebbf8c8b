"""Operators that Jittor does not differentiate twice are refused by name; what is built of ordinary ones passes."""

from __future__ import annotations

from functools import cache, wraps
from pkgutil import resolve_name

import jittor as jt
import numpy as np
import pytest
from jittor import nn

from boat_core import BoatError, OptionError
from boat_core.autodiff.evaluation import evaluating
from boat_core.autodiff.guard import VERIFIED, twice_differentiable
from boat_core.errors import SecondOrderError, SecondOrderWarning
from boat_core.testing.second_order import assert_twice_differentiable

pytestmark = pytest.mark.usefixtures("single_operators")

IMAGE = np.random.default_rng(3).normal(size=(1, 2, 4, 4))
ROWS = IMAGE.reshape(4, 8)[:, :3]
COPY = "for (int i=0; i<in0->num; i++) out_p[i] = in0_p[i];"


def var(values=ROWS):
    return jt.array(values, dtype="float64")


class Cube(jt.Function):
    """A right one, applied as Cube(x)(x): its gradient uses x as it is outside."""

    def __init__(self, x):
        self.x = x

    def execute(self, x):
        return x * x * x

    def grad(self, g):
        return 3.0 * self.x * self.x * g


class CutOff(Cube):
    """A wrong one: the x that `execute` is given is cut off."""

    def __init__(self):
        pass

    def execute(self, x):
        self.x = x
        return x * x * x


def copied(x, dtype=None):
    return jt.code(x.shape, dtype or x.dtype, [x], cpu_src=COPY, cuda_src="")


REFUSED = {
    "max_pool2d": (lambda: nn.max_pool2d(var(IMAGE), 2), "jittor.pool.Pool.execute: .*AdaptiveMaxPool2d"),
    "max_pool3d": (lambda: nn.max_pool3d(var(np.ones((1, 1, 3, 3, 3))), 2), "jittor.pool.Pool3d.execute: "),
    "avg_pool2d": (lambda: nn.avg_pool2d(var(IMAGE), 3, ceil_mode=True), "jittor.pool.Pool.execute: .*ceil_mode off"),
    "safe_clip": (lambda: jt.safe_clip(var(), -1.0, 1.0), "jittor.safe_clip: .*jt.clamp"),
    "Var.safe_clip": (lambda: var().safe_clip(-1.0, 1.0), "jittor.safe_clip: "),
    "cumsum": (lambda: var().cumsum(0), "jittor.misc.numpy_cumsum: .*end the process.*triangular"),
    "inv": (lambda: jt.linalg.inv(var(np.eye(2))), "jittor.linalg.inv: .*matmul"),
    "Function": (lambda: CutOff.apply(var()), r"test_guard\.CutOff: .*boat_core.twice_differentiable"),
    "code": (lambda: copied(var()), r"test_guard\.copied: .*solver.second_order_guard"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_operator_without_a_voucher_is_refused_by_name(name):
    call, message = REFUSED[name]
    with pytest.raises(SecondOrderError, match=message) as caught, evaluating(guard="error"):
        call()
    assert isinstance(caught.value, BoatError)
    with pytest.warns(SecondOrderWarning, match=message) as warned, evaluating(guard="warn"):
        call()
    assert len(warned) == 1
    assert warned[0].filename == __file__
    call()
    with evaluating(guard="error"), evaluating(guard="off"):
        call()
        with pytest.raises(SecondOrderError), evaluating(guard="error"):
            call()


def test_the_guard_changes_no_error_and_no_result():
    with pytest.raises(RuntimeError, match="Wrong inputs arguments"), evaluating(guard="error"):
        jt.code("nonsense")
    with pytest.raises(RuntimeError, match="Wrong inputs arguments"):
        jt.code("nonsense")
    with (
        pytest.raises(OptionError, match=r"off, warn, error \(got 'errors'\); did you mean 'error'\?"),
        evaluating(guard="errors"),
    ):
        pass
    with evaluating(guard="off"):
        np.testing.assert_allclose(CutOff.apply(var()).numpy(), ROWS**3)


def test_operators_without_a_derivative_pass():
    with evaluating(guard="error"):
        assert str(copied(var(), "int32").dtype) == "int32"
        copied(var(np.arange(3)).int32(), "float64")
        copied(var().stop_grad())
        jt.isnan(var())
        with jt.no_grad():
            nn.max_pool2d(var(IMAGE), 2)
            CutOff.apply(var())


def test_ordinary_networks_pass():
    x, labels = var(IMAGE), jt.array([0, 2, 1, 1])
    with evaluating(guard="error"):
        jt.unique(x)  # first, since it computes all that there is
        h = nn.gelu(nn.relu(nn.conv2d(x, var(np.ones((2, 2, 3, 3))), padding=1)))
        h = nn.avg_pool2d(h, 2) + nn.AdaptiveMaxPool2d(2)(x)
        h = nn.layer_norm(jt.concat([h, h], 1).reshape((4, 4)), [4])
        h = jt.matmul(nn.softmax(h, dim=1), var(np.ones((4, 3)))) + nn.embedding(labels, var())
        loss = nn.cross_entropy_loss(jt.sort(h, dim=1)[0] + h[:, :1], labels) + jt.clamp(h, -0.5, 0.5).sum()
        gradient = jt.grad(loss, x)
        nn.LSTM(3, 2)(jt.ones((2, 1, 3)))
    assert gradient.shape == x.shape  # the guard looks at graphs, so nothing needs to be computed


def test_vouching_for_a_class_is_for_that_class_alone():
    assert twice_differentiable(Cube) is Cube
    with evaluating(guard="error"):
        Cube(var())(var())
        with pytest.raises(SecondOrderError, match="CutOff"):
            CutOff.apply(var())


def test_vouching_for_a_function_covers_its_gradient():
    @twice_differentiable
    class Inner(jt.Function):
        def execute(self, x):
            return copied(x)

        def grad(self, g):
            return copied(g)

    x = var(ROWS[0])
    with evaluating(guard="error"):
        gradient = jt.grad(Inner.apply(x).sum(), x)
        with pytest.raises(SecondOrderError, match="copied"):  # in force again
            copied(x)
    np.testing.assert_array_equal(gradient.numpy(), np.ones(3))


def test_vouching_for_a_function():
    def wrapping(function):
        @wraps(function)
        def wrapper(*args):
            return function(*args)

        return wrapper

    @twice_differentiable
    @wrapping
    def mine(x):
        return copied(CutOff.apply(x))

    @wrapping
    def other(x):
        return copied(x)

    @twice_differentiable
    @cache
    def cached():
        return copied(var())

    with evaluating(guard="error"):
        mine(var())
        cached()
        with pytest.raises(SecondOrderError, match="copied"):
            other(var())


@pytest.mark.parametrize("operator", [nn.Pool, int, 3, None, len])
def test_vouching_for_anything_else_is_an_error(operator):
    with pytest.raises(OptionError, match=r"expected a subclass of jt.Function or a .*function \(got "):
        twice_differentiable(operator)


# What the messages recommend, and each name in the table.
RIGHT = {
    "tanh": (jt.tanh, ROWS[:1]),
    "a right Function": (lambda x: Cube(x)(x), ROWS[:1]),
    **{name: (resolve_name(name), ROWS[0]) for name in VERIFIED},
    "two arrays": (lambda a, b: a * jt.exp(b), ROWS[0], ROWS[1]),
    "AdaptiveMaxPool2d": (nn.AdaptiveMaxPool2d(2), IMAGE),
    "AdaptiveMaxPool3d": (nn.AdaptiveMaxPool3d((1, 2, 2)), IMAGE.reshape(1, 1, 2, 4, 4)),
    "max over a reshaped array": (lambda x: x.reshape((2, 2, 2, 2, 2)).max(4).max(2), IMAGE),
    "strided convolution": (lambda x, w: nn.conv2d(x, w, stride=2), IMAGE, np.ones((1, 2, 2, 2))),
    "clamp": (lambda x: jt.clamp(x, -0.5, 0.5), ROWS),
    "triangular matmul": (lambda x: jt.matmul(var(np.tri(4)), x), ROWS),
}
WRONG = {
    "a Function that keeps what execute is given": (CutOff.apply, ROWS[:1], "second"),
    "safe_clip": (lambda x: jt.safe_clip(x, -0.1, 0.1), ROWS, "first"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_second_derivatives(name):
    function, *inputs = RIGHT[name]
    assert_twice_differentiable(function, *inputs)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_derivatives_are_found(name):
    function, values, which = WRONG[name]
    with pytest.raises(AssertionError, match=f"the {which} derivative is off by"):
        assert_twice_differentiable(function, values)
