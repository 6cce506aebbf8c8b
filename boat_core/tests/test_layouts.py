"""Arrays as files hold them: in the other byte order, strided, read-only. They are the numbers that they are."""

from __future__ import annotations

import jittor as jt
import numpy as np
import pytest
from jittor import nn

import boat_core as boat

pytestmark = pytest.mark.usefixtures("single_operators")

VALUES, ZEROS = np.array([1.0, 2.0, 3.0]), np.zeros(3)


def read_only(values):
    copy = np.array(values)
    copy.flags.writeable = False
    return copy


LAYOUTS = {
    **{order: lambda v, order=order: v.astype(order) for order in (">f4", ">f8", ">i4", ">i8", ">u2", "<f8")},
    "reversed": lambda v: np.array(v[::-1])[::-1],
    "every second": lambda v: np.repeat(v, 2)[::2],
    "read-only": read_only,
    "fields of records": lambda v: np.array([(a, 0) for a in v], dtype=[("a", ">f8"), ("b", "i4")])["a"],
}


def solver(lower_batch=None, x=VALUES, y=ZEROS, constant=None, **settings):
    """f = ‖y - x·batch‖² with one step of size ½, so that y = x·batch. F = ‖y - 1‖², so dF/dx = 2 (y - 1)·batch."""

    def f(x, y, b):
        return ((y - x * (b if constant is None else constant)) ** 2).sum()

    problem = boat.Problem(lambda x, y, b: ((y - 1) ** 2).sum(), f, x, y)
    options = dict(map="NGD", approximate="RAD", lower_steps=1, lower_optimizer=boat.sgd(0.5))
    return boat.Solver(problem, upper_optimizer=boat.sgd(0.1), **options, **settings)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_variables_and_batches(layout):
    values = LAYOUTS[layout](VALUES)
    right = 2 * (VALUES - 1) * VALUES
    ones = np.ones(3)
    np.testing.assert_allclose(solver(x=ones).hypergradient(values).upper.numpy(), right, rtol=1e-6)
    per_step = boat.PerStep([values])
    np.testing.assert_allclose(solver(x=ones).hypergradient(per_step).upper.numpy(), right, rtol=1e-6)
    np.testing.assert_allclose(solver(x=ones, constant=values).hypergradient().upper.numpy(), right, rtol=1e-6)
    if values.dtype.kind == "f":
        made = solver(jt.array([1.0]), x=values, y=values)
        assert (made.upper.numpy().tolist(), made.start.numpy().tolist()) == ([1, 2, 3], [1, 2, 3])
        np.testing.assert_allclose(boat.value_and_grad(lambda y: (y * y).sum())(values)[1].numpy(), 2 * VALUES)
        end = boat.unroll(lambda t, z, x: z * x, values, values, 2)
        np.testing.assert_allclose(end.end.numpy(), VALUES**3, rtol=1e-6)
        assert [leaf.numpy().tolist() for leaf in end.pullback(values)] == [(VALUES**3).tolist(), [2, 16, 54]]


CONSTANTS = {
    "y * c": lambda y, c: y * c,
    "c * y": lambda y, c: c * y,
    "y + c": lambda y, c: y + c,
    "c - y": lambda y, c: c - y,
    "c / y": lambda y, c: c / y,
    "y ** c": lambda y, c: y**c,
    "y @ c": lambda y, c: y @ c,
    "y[c]": lambda y, c: y[c.astype(">i4") - 1],
    "jt.array": lambda y, c: y * jt.array(c),
    "jt.maximum": lambda y, c: jt.maximum(y, c),
    "jt.ternary": lambda y, c: jt.ternary(y < c, y, y * 2),
}


@pytest.mark.parametrize("expression", CONSTANTS)
def test_constants_in_the_other_byte_order(expression):
    function, y = CONSTANTS[expression], np.array([1.5, 1.25, 4.0])
    both = boat.value_and_grad(lambda y, c: function(y, c).sum())
    for ours, right in zip(both(y, VALUES.astype(">f8")), both(y, VALUES)):
        np.testing.assert_allclose(ours.numpy(), right.numpy(), rtol=1e-12)
        assert right.numpy().any()


def test_hyperparameters_state_and_parameters_in_the_other_byte_order():
    optimizer = boat.sgd(np.array([0.5, 0.25, 1.0], ">f8"))
    y = jt.array(VALUES, dtype="float64")
    updates, _ = optimizer.update(y, optimizer.init(y), y)
    assert updates.numpy().tolist() == [-0.5, -0.5, -3.0]

    made = solver()
    state = made.state
    made.restore({**state.as_dict(), "upper": state.upper.astype(">f8")})
    assert made.upper.numpy().tolist() == [1, 2, 3]

    layer = nn.Linear(2, 1)
    weights = {"weight": np.array([[2.0, 3.0]], ">f4"), "bias": np.array([1.0], ">f4")}
    assert boat.call(layer, weights, jt.array([[1.0, 1.0]])).numpy().tolist() == [[6.0]]
    boat.load(layer, weights)
    assert layer.weight.numpy().tolist() == [[2.0, 3.0]]

    @boat.es_grad(samples=3)
    def total(values, scale):
        return (values * scale).sum()

    assert total(VALUES.astype(">f8"), np.array([2.0], ">f8")).numpy().tolist() == [12.0]


MASKED = np.ma.masked_array([1.0, 2.0, 3.0], [0, 1, 0])
RECORDS = np.zeros(3, dtype=[("a", "f8"), ("b", "i4")])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (MASKED, r"expected an array without a mask .*filled\(value\)"),
        (RECORDS, r"structured array with the fields 'a', 'b'.*array\['a'\]"),
    ],
)
def test_masked_and_structured_arrays_are_refused_with_the_remedy(values, message):
    calls = {
        "lower_batch": lambda: solver().step({"data": values}),
        "upper_batch": lambda: solver().step(VALUES, {"data": values}),
        "upper": lambda: solver(x={"data": values}),
        "lower": lambda: solver(y={"data": values}),
        "start": lambda: boat.unroll(lambda t, z, x: z, {"data": values}, VALUES, 1),
    }
    for where, call in calls.items():
        with pytest.raises(boat.StructureError, match=rf"{where}\['data'\]: .*{message}"):
            call()
    with pytest.raises(boat.StructureError, match=f"argument 0: .*{message}"):
        boat.value_and_grad(lambda y: y.sum())(values)


def test_masked_array_as_a_constant_is_refused():
    for function in (lambda y: (y * MASKED).sum(), lambda y: jt.maximum(y, MASKED).sum()):
        with pytest.raises(boat.StructureError, match="a constant in an objective: expected an array without a mask"):
            boat.value_and_grad(function)(VALUES)


@pytest.mark.parametrize("read", [np.exp, lambda y: np.asarray(y, "float32"), lambda y: jt.array([y[0], y[1]])])
def test_numpy_does_not_read_what_is_differentiated(read):
    """The derivative of what numpy makes of it would be lost without a word."""
    y = np.array([1.0, 2.0])
    with pytest.raises(boat.ObjectiveError, match="numpy reads an array that depends on argument 0.*jt.exp for np.exp"):
        boat.value_and_grad(lambda y: (read(2 * y) * y).sum())(y)
    problem = boat.Problem(
        lambda x, y, batch: (y * y).sum(), lambda x, y, batch: (read(y) * (y - x) ** 2).sum(), upper=y, lower=y
    )
    solver = boat.Solver(problem, lower_optimizer=boat.sgd(0.1), upper_optimizer=boat.sgd(0.1), lower_steps=1)
    with pytest.raises(boat.ObjectiveError, match="depends on lower"):
        solver.hypergradient()


def test_numpy_reads_constants_in_an_objective():
    data, y = jt.array(np.array([3.0, 4.0]), dtype="float64"), np.array([1.0, 2.0])
    _, gradient = boat.value_and_grad(lambda y: ((np.sqrt(data) + np.exp(y.detach()) + y.numpy()) * y).sum())(y)
    np.testing.assert_allclose(gradient.numpy(), np.sqrt([3.0, 4.0]) + np.exp(y) + y, rtol=1e-12)
