"""VFO against its formula in numpy, and its edges."""

from __future__ import annotations

import numpy as np
import pytest

import boat_core as boat
from boat_core.testing import QuadraticCase, assert_close

STEPS, RATE, U1 = 4, 0.1, 0.9


def solver(problem, lower=None, **options):
    return boat.Solver(
        problem,
        first_order="VFO",
        lower_steps=STEPS,
        lower_optimizer=lower or boat.sgd(RATE),
        upper_optimizer=boat.sgd(0.1),
        options={"VFO": {"u1": U1} | options},
    )


@pytest.mark.parametrize(("control", "u1"), [("gradient", 0.9), ("value", 20.0)])
def test_formula(control, u1):
    case = QuadraticCase()
    s = solver(case.problem, control=control, u1=u1)
    result = s.step()
    target = case.iterates(STEPS, RATE)[-1]

    def f(y):
        return 0.5 * y @ case.A @ y - y @ (case.B @ case.x + case.b)

    Fx, Fy = case.rho * case.x, case.upper_gradient(case.y)
    qx, qy = -case.B.T @ (case.y - target), case.lower_gradient(case.y)
    qq, q = qx @ qx + qy @ qy, f(case.y) - f(target)
    assert q > 0
    weight = max(0.0, (u1 * (qq if control == "gradient" else q) - Fx @ qx - Fy @ qy) / qq)
    assert result.report.operations["VFO"]["lambda"] == pytest.approx(weight)
    assert weight > 0
    assert_close(s.lower, case.y - RATE * (Fy + weight * qy), 1e-12)
    assert_close(s.upper, case.x - 0.1 * (Fx + weight * qx), 1e-12)


def test_zero_gradient_of_q_gives_weight_zero():
    """At the lower solution with f independent of x nothing pulls: λ = 0, not NaN."""
    problem = boat.Problem(
        lambda x, y, b: (x * x).sum() + y.sum(), lambda x, y, b: (y * y).sum(), np.ones(2), np.zeros(2)
    )
    result = solver(problem).step()
    assert result.report.operations["VFO"]["lambda"] == 0.0


def test_it_solves_a_quadratic():
    """The true upper objective's excess falls to 10 % of the start or less."""
    case = QuadraticCase()
    s = boat.Solver(
        case.problem,
        first_order="VFO",
        lower_steps=10,
        lower_optimizer=boat.sgd(0.05),
        upper_optimizer=boat.sgd(0.05),
    )
    inverse = np.linalg.inv(case.A)

    def true_objective(x):
        y = inverse @ (case.B @ x + case.b)
        return 0.5 * np.sum((y - case.c) ** 2) + 0.5 * case.rho * np.sum(x**2)

    K = inverse @ case.B
    best = np.linalg.solve(K.T @ K + case.rho * np.eye(4), K.T @ (case.c - inverse @ case.b))
    for _ in range(400):
        s.step()
    excess = true_objective(s.upper.numpy()) - true_objective(best)
    assert excess <= 0.1 * (true_objective(case.x) - true_objective(best))


def test_an_inner_rate_is_required_where_the_lower_optimizer_has_none():
    with pytest.raises(boat.OptionError, match="options.VFO.inner_rate: required"):
        solver(QuadraticCase().problem, lower=boat.adam(0.1)).step()
    solver(QuadraticCase().problem, lower=boat.adam(0.1), inner_rate=0.1).step()
