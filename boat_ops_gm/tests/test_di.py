"""DI: the start moves along its cotangent beside any estimator, and no setting may fix it."""

from __future__ import annotations

import numpy as np
import pytest

import boat_core as boat
from boat_core.testing import QuadraticCase, assert_close

STEPS, RATE = 4, 0.1


def solver(problem, **more):
    settings = dict(lower_steps=STEPS, lower_optimizer=boat.sgd(RATE), upper_optimizer=boat.sgd(0.1))
    return boat.Solver(problem, map=["DI"], **(settings | more))


@pytest.mark.parametrize("estimator", ["RAD", "CG"])
@pytest.mark.parametrize("rate", [None, 0.7])
def test_the_start_descends_along_its_own_cotangent(estimator, rate):
    case = QuadraticCase()
    s = solver(case.problem, approximate=estimator, options={"DI": {"rate": rate}} if rate else None)
    contraction = np.linalg.matrix_power(np.eye(3) - RATE * case.A, STEPS)
    start = case.y
    for _ in range(2):
        x = s.upper.numpy()
        case.x = x
        cotangent = contraction @ case.upper_gradient(case.iterates(STEPS, RATE, start)[-1])
        assert_close(s.hypergradient().start, cotangent, 1e-10)
        s.step()
        start = start - (rate or RATE) * cotangent
        assert_close(s.start, start, 1e-10)


def test_cotangent_after_ptt_is_that_of_the_worst_iterate():
    case = QuadraticCase()
    h = solver(case.problem, approximate=["PTT", "CG"]).hypergradient()
    cut = h.report.operations["PTT"]["steps"]
    contraction = np.linalg.matrix_power(np.eye(3) - RATE * case.A, cut)
    assert_close(h.start, contraction @ case.upper_gradient(case.iterates(cut, RATE)[-1]), 1e-10)


def test_tasks_share_the_start():
    case = QuadraticCase()
    s = solver(case.problem)
    cotangent = s.hypergradient().start.numpy()
    s.step(tasks={"a": (None, None), "b": (None, None)})
    assert_close(s.start, case.y - RATE * cotangent, 1e-12)


def test_the_start_stays_in_the_lower_set():
    case = QuadraticCase()
    bounded = boat.Problem(
        case.problem.upper_objective, case.problem.lower_objective, case.x, case.y, project_lower=(-0.1, 0.1)
    )
    s = solver(bounded, options={"DI": {"rate": 100.0}})
    s.step()
    assert np.abs(s.start.numpy()).max() <= 0.1


@pytest.mark.parametrize("start", ["warm", "cold", "upper"])
def test_start_setting_beside_di_is_refused(start):
    with pytest.raises(boat.CompositionError, match="start: DI learns the start of y: expected no start"):
        solver(QuadraticCase().problem, start=start)


def test_the_learned_start_is_part_of_the_state():
    first, second = (solver(QuadraticCase().problem) for _ in range(2))
    first.step()
    second.restore(first.state)
    first.step(), second.step()
    assert_close(first.start, second.start.numpy(), 0)
    assert np.abs(first.start.numpy() - QuadraticCase().y).max() > 0
