"""The guard on max pooling in an objective, for solvers that differentiate the objective twice and for others.

With the operators of the core it is right; with Jittor's alone it must not pass.
"""

from __future__ import annotations

from dataclasses import replace

import jittor as jt
import numpy as np
import pytest

import boat_core as boat
from boat_core.testing import assert_close, central_differences, upper_value


def pooled(y):
    return jt.nn.max_pool2d(y.reshape((1, 1, 4, 4)), 2).sum()


def plain(y):
    return (y * y).sum() / 2


PROBLEM = boat.Problem(
    upper_objective=lambda x, y, batch: plain(y - 1) + plain(x),
    lower_objective=lambda x, y, batch: plain(y - x),
    upper=np.linspace(-1, 1, 16).astype("float32"),
    lower=np.linspace(1, 2, 16).astype("float32"),
)
ABOVE = replace(PROBLEM, upper_objective=lambda x, y, batch: PROBLEM.upper_objective(x, y, batch) + pooled(y))
BELOW = replace(PROBLEM, lower_objective=lambda x, y, batch: PROBLEM.lower_objective(x, y, batch) + pooled(y))


def solver(problem, chains, guard="error", operators="plain"):
    settings = dict(lower_optimizer=boat.sgd(0.1), upper_optimizer=boat.sgd(0.1))
    settings |= dict(second_order_guard=guard, operators=operators)
    return boat.Solver(problem, **chains, lower_steps=1 if chains.get("map") == "DM" else 2, **settings)


SECOND_ORDER = pytest.mark.parametrize(
    ("problem", "chains"),
    [
        (BELOW, {"approximate": "RAD"}),
        (BELOW, {"approximate": "CG"}),
        (ABOVE, {"map": "GDA"}),
        (BELOW, {"map": "DM", "approximate": "CG"}),
        (BELOW, {"first_order": "PGDO", "options": {"PGDO": {"penalty": "gradient"}}}),
    ],
    ids=["RAD", "CG", "GDA", "DM", "PGDO"],
)


@SECOND_ORDER
def test_max_pooling_is_accepted_with_native_operators(problem, chains):
    solver(problem, chains, operators="native").step()


def test_hypergradient_through_max_pooling_is_exact():
    def sharp(y):  # curved, and through the pool: Jittor's own would be off
        pools = jt.nn.max_pool2d(y.reshape((1, 1, 4, 4)), 2)
        return (pools * pools * pools).sum()

    problem = replace(
        PROBLEM,
        lower_objective=lambda x, y, batch: PROBLEM.lower_objective(x, y, batch) + sharp(y),
        upper=PROBLEM.upper.astype("float64"),
        lower=PROBLEM.lower.astype("float64"),
    )

    settings = dict(approximate="RAD", lower_steps=2, lower_optimizer=boat.sgd(0.1), upper_optimizer=boat.sgd(0.1))
    h = boat.Solver(problem, **settings).hypergradient()
    truth = central_differences(lambda x: upper_value(problem, x, (), **settings), problem.upper)
    assert_close(h.upper, truth, 1e-8)


@SECOND_ORDER
def test_a_second_derivative_through_max_pooling_is_an_error_that_names_it(problem, chains):
    s = solver(problem, chains)
    with pytest.raises(boat.SecondOrderError, match=r"jittor\.pool\.Pool.*native has it right.*for max pooling use"):
        s.step()
    assert s.iteration == 0


@pytest.mark.parametrize(
    ("problem", "chains"),
    [
        (ABOVE, {"approximate": "RAD"}),  # F is differentiated once
        (BELOW, {"first_order": "VFO"}),
        (BELOW, {"first_order": "PGDO"}),
        (BELOW, {"approximate": "FD"}),
        (BELOW, {"approximate": "ES"}),
        (BELOW, {"approximate": ["IAD", "FOA"]}),
    ],
    ids=["above", "VFO", "PGDO", "FD", "ES", "FOA"],
)
def test_first_derivatives_are_not_guarded(problem, chains):
    solver(problem, chains).step()


def test_guard_can_warn_or_be_off():
    with pytest.warns(boat.SecondOrderWarning, match=r"jittor\.pool\.Pool"):
        solver(BELOW, {"approximate": "RAD"}, guard="warn").step()
    solver(BELOW, {"approximate": "RAD"}, guard="off").step()
    with pytest.raises(boat.OptionError, match="second_order_guard: expected one of 'off', 'warn', 'error' "):
        solver(BELOW, {"approximate": "RAD"}, guard="maybe")
