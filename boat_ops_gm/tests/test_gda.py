"""NGD and GDA: what the trajectory descends, and that everything downstream sees the aggregated objective."""

from __future__ import annotations

import numpy as np
import pytest

import boat_core as boat
from boat_core.testing import QuadraticCase, assert_close, central_differences, network_problem, upper_value

STEPS, RATE, ALPHA, DECAY = 4, 0.1, 0.4, 0.7


def solver(problem, chain, **more):
    settings = dict(lower_steps=STEPS, lower_optimizer=boat.sgd(RATE), upper_optimizer=boat.sgd(0.1))
    return boat.Solver(problem, map=chain, **(settings | more))


def test_ngd_descends_f():
    case = QuadraticCase()
    s = solver(case.problem, "NGD")
    s.step()
    assert_close(s.lower, case.iterates(STEPS, RATE)[-1], 1e-12)


def test_gda_descends_both():
    case = QuadraticCase()
    s = solver(case.problem, ["NGD", "GDA"], options={"GDA": {"alpha": ALPHA, "decay": DECAY}})
    s.step()
    y = case.y
    for t in range(STEPS):
        a = ALPHA * DECAY**t
        y = y - RATE * (a * case.upper_gradient(y) + (1 - a) * case.lower_gradient(y))
    assert_close(s.lower, y, 1e-12)


def test_gda_with_rad_is_the_derivative_of_what_ran():
    problem = network_problem()
    batches = problem.batches(0, None)
    settings = dict(map=["GDA"], lower_steps=STEPS, lower_optimizer=boat.sgd(RATE), upper_optimizer=boat.sgd(0.1))
    h = boat.Solver(problem, **settings).hypergradient(*batches)
    truth = central_differences(lambda x: upper_value(problem, x, batches, **settings), problem.upper)
    assert_close(h.upper, truth, 1e-9)


def test_gda_with_cg_solves_with_the_aggregated_hessian():
    case = QuadraticCase()
    options = {"GDA": {"alpha": ALPHA, "decay": DECAY}, "CG": {"tolerance": 1e-12}}
    s = solver(case.problem, ["GDA"], approximate="CG", options=options)
    h = s.hypergradient()
    s.step()
    a = ALPHA * DECAY ** (STEPS - 1)
    hessian = a * np.eye(3) + (1 - a) * case.A
    q = np.linalg.solve(hessian, case.upper_gradient(s.lower.numpy()))
    assert_close(h.upper, case.rho * case.x + (1 - a) * case.B.T @ q, 1e-10)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_alpha_out_of_range(alpha):
    with pytest.raises(boat.OptionError, match=r"options.GDA.alpha: expected a number > 0 and < 1"):
        solver(QuadraticCase().problem, "GDA", options={"GDA": {"alpha": alpha}})
