"""Random small objectives: value, gradient and products with the Hessian against numpy and central differences.

A `Program` is a straight-line program over leaves of y, constants and numbers. Every step may use every earlier value,
so values, arrays and one module are shared. The same program runs in Jittor, as an objective, and in numpy in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import jittor as jt
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from jittor import nn

import boat_core as boat
from boat_core.autodiff import derivatives
from boat_core.autodiff.evaluation import evaluating

SHAPES = [(1,), (3,), (2, 3), (0,), (3, 2), (2,)]
FLOATS = ["float32", "float64"]
DTYPES = [*FLOATS, "int32", "uint8", "int64", "bool", "int16", "float16"]
LAYOUTS = ["plain", "reversed", "transposed", "swapped", "read-only"]
NUMBERS = [2, 0.1, -0.7, 1.3, -1, np.float64(0.3), np.float32(0.75), np.int64(3)]
NET = nn.Linear(3, 2)


@dataclass(frozen=True)
class Leaf:
    """A part of y, with values that depend on its place alone."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Constant:
    """A numpy array that the objective uses."""

    shape: tuple[int, ...]
    dtype: str
    layout: str = "plain"


@dataclass(frozen=True)
class Program:
    """Inputs (leaves, constants and numbers) and steps (the name of a function and the places of its arguments)."""

    inputs: tuple[Any, ...]
    steps: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Function:
    """A function in Jittor and in numpy, and whether it has arguments of these shapes."""

    jittor: Callable[..., Any]
    numpy: Callable[..., Any]
    takes: Callable[..., bool] = lambda *shapes: True
    arity: int = 1


def _elementwise(function: Callable[..., Any], numpy: Callable[..., Any]) -> Function:
    return Function(function, numpy)


def _one(value: Any) -> np.ndarray:
    return np.reshape(value, (1,))


def _rows(function: Callable[..., Any]) -> Callable[..., Any]:
    """Apply a reduction of numpy along the last axis, with a result as Jittor has it: never of rank 0."""
    return lambda x: np.atleast_1d(function(x, axis=-1))


def _softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _write(x: Any, y: Any, copy: Callable[[Any], Any]) -> Any:
    z = copy(x)
    z[:1] = y[:1]
    return z


def _linear(x: Any, weight: Any, bias: Any) -> Any:
    """Call one module, with these arrays in place of its parameters."""
    return boat.call(NET, {"weight": weight, "bias": bias}, x)


def _broadcast(*shapes: tuple[int, ...]) -> bool:
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        return False
    return True


def _product(left: tuple[int, ...], right: tuple[int, ...]) -> bool:
    matrices = len(left) + len(right) > 2
    return matrices and left[-1] == right[0 if len(right) == 1 else -2] and 0 not in (*left, *right)


def _stacked(left: tuple[int, ...], right: tuple[int, ...]) -> bool:
    return len(left) == len(right) and left[1:] == right[1:]


def _filled(*shapes: tuple[int, ...]) -> bool:
    return all(0 not in shape for shape in shapes)


ERF = np.vectorize(math.erf, otypes=[float])
FUNCTIONS = {
    "tanh": _elementwise(jt.tanh, np.tanh),
    "sigmoid": _elementwise(jt.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    "sin": _elementwise(jt.sin, np.sin),
    "erf": _elementwise(jt.erf, ERF),
    "gelu": _elementwise(nn.gelu, lambda x: x * 0.5 * (1 + ERF(x / math.sqrt(2)))),
    "softplus": _elementwise(nn.softplus, lambda x: np.logaddexp(0, x)),
    "relu": _elementwise(nn.relu, lambda x: np.maximum(x, 0)),
    "leaky_relu": _elementwise(lambda x: nn.leaky_relu(x, 0.1), lambda x: np.where(x > 0, x, 0.1 * x)),
    "abs": _elementwise(lambda x: x.abs(), np.abs),
    "clamp": _elementwise(lambda x: jt.clamp(x, -0.3, 0.7), lambda x: np.clip(x, -0.3, 0.7)),
    "exp": _elementwise(lambda x: jt.exp(jt.tanh(x)), lambda x: np.exp(np.tanh(x))),
    "log": _elementwise(lambda x: jt.log(x * x + 1.5), lambda x: np.log(x * x + 1.5)),
    "sqrt": _elementwise(lambda x: jt.sqrt(1 + x * x), lambda x: np.sqrt(1 + x * x)),
    "square": _elementwise(lambda x: x**2, lambda x: x**2),
    "cube": _elementwise(lambda x: x**3, lambda x: x**3),
    "power": _elementwise(lambda x: (x * x + 0.5) ** 1.3, lambda x: (x * x + 0.5) ** 1.3),
    "negative": _elementwise(lambda x: -x, lambda x: -x),
    "sum": Function(lambda x: x.sum(), lambda x: _one(x.sum())),
    "mean": Function(lambda x: x.mean(), lambda x: _one(x.mean()), _filled),
    "sum of rows": Function(lambda x: x.sum(-1), _rows(np.sum), _filled),
    "mean of rows": Function(lambda x: jt.mean(x, -1), _rows(np.mean), _filled),
    "max of rows": Function(lambda x: x.max(-1), _rows(np.max), _filled),
    "sum of columns": Function(lambda x: x.sum(0), lambda x: np.atleast_1d(x.sum(0)), _filled),
    "product": Function(lambda x: jt.tanh(x).prod(), lambda x: _one(np.tanh(x).prod()), _filled),
    "softmax": Function(lambda x: nn.softmax(x, -1), _softmax, _filled),
    "flat": Function(lambda x: x.reshape((-1,)), np.ravel, _filled),
    "first": Function(lambda x: x[:1], lambda x: x[:1]),
    "turned": Function(lambda x: x.transpose(), np.transpose, lambda x: len(x) == 2),
    "linear": Function(_linear, lambda x, w, b: x @ w.T + b, lambda x, w, b: (x, w, b) == ((2, 3), (2, 3), (2,)), 3),
    "add": Function(lambda x, y: x + y, np.add, _broadcast, 2),
    "subtract": Function(lambda x, y: x - y, np.subtract, _broadcast, 2),
    "multiply": Function(lambda x, y: x * y, np.multiply, _broadcast, 2),
    "divide": Function(lambda x, y: x / (1 + y * y), lambda x, y: x / (1 + y * y), _broadcast, 2),
    "maximum": Function(jt.maximum, np.maximum, _broadcast, 2),
    "where": Function(
        lambda x, y: jt.where(x > y, x, y * 0.1), lambda x, y: np.where(x > y, x, y * 0.1), lambda x, y: x == y, 2
    ),
    "matmul": Function(lambda x, y: x @ y, lambda x, y: x @ y, _product, 2),
    "concat": Function(lambda x, y: jt.concat([x, y], dim=0), lambda x, y: np.concatenate([x, y]), _stacked, 2),
    "write": Function(
        lambda x, y: _write(x, y, lambda x: x * 1.0),
        lambda x, y: _write(x, y, np.copy),
        lambda x, y: _stacked(x, y) and _filled(x, y),
        2,
    ),
}


def values(spec: Any, place: int) -> np.ndarray:
    """Return the numbers of an input, the same ones each time."""
    rng = np.random.default_rng(place)
    numbers = rng.normal(size=spec.shape)
    if spec.dtype.startswith("float"):
        return numbers.astype(spec.dtype)
    return rng.integers(0, 2 if spec.dtype == "bool" else 5, size=spec.shape).astype(spec.dtype)


def laid_out(array: np.ndarray, layout: str) -> np.ndarray:
    """Return an equal array in another layout of memory."""
    if layout == "reversed":
        return array[::-1].copy()[::-1]
    if layout == "transposed":
        return array.T.copy().T
    if layout == "swapped":
        return array.astype(array.dtype.newbyteorder(">"))
    array = array.copy()
    array.setflags(write=layout != "read-only")
    return array


@st.composite
def programs(draw: Any) -> Program:
    """Return a program with one to three leaves and up to six steps, each of which has arguments that fit."""
    leaf = st.builds(Leaf, st.sampled_from(SHAPES), st.sampled_from(FLOATS))
    constant = st.builds(Constant, st.sampled_from(SHAPES), st.sampled_from(DTYPES), st.sampled_from(LAYOUTS))
    other = st.one_of(constant, st.sampled_from(NUMBERS))
    inputs = (*draw(st.lists(leaf, min_size=1, max_size=2)), *draw(st.lists(other, max_size=3)))
    pool = [reference_input(spec, place) for place, spec in enumerate(inputs)]
    steps: list[tuple[str, tuple[int, ...]]] = []
    for _ in range(draw(st.integers(1, 6))):
        choices = [
            (name, places)
            for name, function in FUNCTIONS.items()
            for places in _arguments(len(pool), function.arity)
            if _fits(function, [(inputs[p] if p < len(inputs) else None, pool[p]) for p in places])
        ]
        name, places = draw(st.sampled_from(choices))
        steps.append((name, places))
        pool.append(FUNCTIONS[name].numpy(*(np.asarray(pool[place]) for place in places)))
    return Program(inputs, tuple(steps))


def _arguments(size: int, arity: int) -> list[tuple[int, ...]]:
    return list(product(range(size), repeat=arity))


def _fits(function: Function, arguments: list[tuple[Any, Any]]) -> bool:
    arrays = [value for _, value in arguments if isinstance(value, np.ndarray)]
    truths = [isinstance(spec, Constant) and spec.dtype == "bool" for spec, _ in arguments]
    # A number alone is no array, and truth values add up to a truth value in Jittor, as in numpy.
    if not arrays or (len(arrays) < len(arguments) and function.takes is not _broadcast) or all(truths):
        return False
    return function.takes(*(np.shape(value) for _, value in arguments))


def reference_input(spec: Any, place: int) -> Any:
    """Return an input in float64, or a number."""
    return values(spec, place).astype("float64") if isinstance(spec, (Leaf, Constant)) else float(spec)


def total(pool: list[Any], leaves: list[Any]) -> Any:
    """Return the number that the objective is: of the last value, and a bit of every leaf."""
    last = pool[-1]
    number = (last * last).sum() * 0.1 + last.sum()
    for leaf in leaves:
        number = number + (leaf * leaf).sum() * 0.01
    return number


def reference(program: Program, leaves: list[np.ndarray]) -> float:
    """Return the objective in numpy."""
    pool = [reference_input(spec, place) for place, spec in enumerate(program.inputs)]
    pool[: len(leaves)] = leaves
    for name, places in program.steps:
        pool.append(FUNCTIONS[name].numpy(*(np.asarray(pool[place]) for place in places)))
    return float(total(pool, leaves))


def objective(program: Program) -> Callable[[list[Any]], Any]:
    """Return the objective in Jittor."""

    def function(leaves: list[Any]) -> Any:
        pool: list[Any] = list(leaves)
        for place, spec in enumerate(program.inputs[len(leaves) :], len(leaves)):
            array = laid_out(values(spec, place), spec.layout) if isinstance(spec, Constant) else spec
            pool.append(_read(array) if isinstance(spec, Constant) else array)
        for name, places in program.steps:
            pool.append(FUNCTIONS[name].jittor(*(pool[place] for place in places)))
        return total(pool, leaves)

    return function


def _read(array: np.ndarray) -> Any:
    """Return a constant as a batch holds it: an array of Jittor of the same dtype."""
    return jt.array(array, dtype=array.dtype.name)


def differences(function: Callable[[np.ndarray], float], point: np.ndarray, direction: np.ndarray) -> tuple[Any, ...]:
    """Return ∇ f and ∇² f · direction by central differences, extrapolated once; and how far the steps disagree."""

    def slope(h: float, i: int) -> float:
        e = np.eye(len(point))[i] * h
        return (function(point + e) - function(point - e)) / (2 * h)

    def bend(h: float, i: int) -> float:
        e, d = np.eye(len(point))[i] * h, direction * h
        corners = function(point + e + d) - function(point + e - d) - function(point - e + d) + function(point - e - d)
        return corners / (4 * h * h)

    results, doubt = [], 0.0
    for of, h in ((slope, 1e-3), (bend, 4e-3)):
        coarse, fine = (np.array([of(step, i) for i in range(len(point))]) for step in (h, h / 2))
        results.append((4 * fine - coarse) / 3)
        doubt = max(doubt, float(np.max(np.abs(fine - coarse), initial=0)) / h**2)
    return *results, doubt


def check(program: Program) -> None:
    """Compare the objective, its gradient and a product with its Hessian with the reference."""
    leaves = [values(spec, place) for place, spec in enumerate(program.inputs) if isinstance(spec, Leaf)]
    sizes = np.cumsum([0, *(leaf.size for leaf in leaves)])

    def split(flat: np.ndarray) -> list[np.ndarray]:
        return [flat[a:b].reshape(leaf.shape) for a, b, leaf in zip(sizes, sizes[1:], leaves)]

    point = np.concatenate([leaf.ravel().astype("float64") for leaf in leaves])
    direction = np.random.default_rng(99).normal(size=point.shape)
    right = reference(program, split(point))
    slopes, bends, doubt = differences(lambda flat: reference(program, split(flat)), point, direction)
    scale = max(1.0, abs(right), *np.abs(slopes), *np.abs(bends))
    assume(scale < 1e4)
    assume(doubt < 1e3 * scale)  # not at a kink of relu, max and the like

    dtypes = {spec.dtype for spec in program.inputs if isinstance(spec, (Leaf, Constant))}
    exact = not dtypes & {"float32", "float16"}
    digits = 1e-9 if exact else 2e-4 if "float16" not in dtypes else 2e-2
    function = objective(program)
    value, gradient = boat.value_and_grad(function)([leaf.copy() for leaf in leaves])
    products = hessian_products(function, leaves, split(direction))
    assert [str(one.dtype) for one in gradient] == [leaf.dtype.name for leaf in leaves]
    tolerance = scale * digits
    np.testing.assert_allclose(value.numpy()[0], right, atol=tolerance, rtol=0)
    _compare(gradient, slopes, tolerance, "gradient")
    for way, ours in products.items():
        _compare(ours, bends, scale * (2e-7 if exact else 10 * digits), way)


def hessian_products(function: Callable[..., Any], leaves: list[Any], direction: list[Any]) -> dict[str, list[Any]]:
    """Return ∇² f · direction in the two ways that BOAT has: as a gradient of a gradient, and pulled back."""
    p = [jt.array(part, dtype="float64") for part in direction]

    def inner(y: list[Any]) -> Any:
        return sum(((slope * part).sum() for slope, part in zip(boat.grad(function)(y), p)), 0.0 * y[0].sum())

    arrays = [jt.array(leaf, dtype=leaf.dtype.name) for leaf in leaves]
    with evaluating(native=True, guard="error", differentiated=True, point=arrays):
        slopes = derivatives.gradient(function(arrays), arrays)
    return {
        "gradient of a gradient": boat.value_and_grad(inner)([leaf.copy() for leaf in leaves])[1],
        "pulled back": derivatives.vjp(slopes, p, arrays),
    }


def _compare(arrays: list[Any], flat: np.ndarray, tolerance: float, what: str) -> None:
    ours = np.concatenate([array.numpy().ravel().astype("float64") for array in arrays])
    np.testing.assert_allclose(ours, flat, atol=tolerance, rtol=0, err_msg=what)


QUIET = dict(deadline=None, database=None, suppress_health_check=list(HealthCheck))


#: Programs that random ones have shrunk to.
CUBE = Program((Leaf((1,), "float64"),), (("cube", (0,)), ("concat", (1, 1))))
WRITTEN = [
    Program((Leaf((1,), dtype),), (("sigmoid", (0,)), ("concat", (0, 0)), ("where", (0, 1)), ("divide", (2, 2))))
    for dtype in FLOATS
]
EMPTY = Program((Leaf((1,), "float32"), Constant((0,), "int64", "transposed")), (("relu", (1,)),))
QUOTIENT = Program((Leaf((3,), "float64"), 3, Constant((3,), "uint8")), (("multiply", (2, 1)), ("divide", (2, 3))))


@pytest.mark.usefixtures("single_operators")
@example(QUOTIENT)
@example(EMPTY)
@example(WRITTEN[1])
@example(WRITTEN[0])
@example(CUBE)
@settings(max_examples=100, derandomize=True, **QUIET)
@given(programs())
def test_random_objectives(program):
    check(program)


@pytest.mark.nightly
@pytest.mark.usefixtures("single_operators")
@settings(max_examples=2000, print_blob=True, **QUIET)
@given(programs())
def test_more_random_objectives(program):
    with jt.flag_scope(no_fuse=1):
        check(program)
