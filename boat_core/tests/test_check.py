"""The numeric check finds wrong derivatives and passes right ones."""

from __future__ import annotations

import jittor as jt
import numpy as np
import pytest

import boat_core as boat
from boat_core.bilevel.gradcheck import check_problem
from boat_core.testing import network_problem

pytestmark = pytest.mark.usefixtures("single_operators")


def test_correct_derivatives_pass_even_in_float32():
    problem = network_problem(dtype="float32")
    rows = check_problem(problem, *problem.batches(0, None))
    assert len(rows) == 2 * 2 * 4
    assert all(row["ok"] and row["error"] < 1e-7 for row in rows)
    lower = {"lower['hidden']['bias']", "lower['hidden']['weight']", "lower['out']"}
    assert {row["leaf"] for row in rows} == {"upper", *lower}


class Cube(jt.Function):
    """y³ with a right gradient that Jittor does not differentiate again: it hides y behind `detach`."""

    def execute(self, y):
        self.y = y.detach()
        return y * y * y

    def grad(self, g):
        return g * 3 * self.y * self.y


def test_wrong_second_derivative_is_found():
    problem = boat.Problem(
        lambda x, y, batch: (x * y).sum(),
        lambda x, y, batch: Cube.apply(y).sum() + (x * x).sum(),
        np.ones(2),
        np.array([0.5, 1.5]),
    )
    rows = check_problem(problem, None, None)
    wrong = [(row["objective"], row["derivative"], row["leaf"]) for row in rows if not row["ok"]]
    assert wrong == [("lower", "second", "lower")]
