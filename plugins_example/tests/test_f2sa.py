"""F2SA: its closed form in the conformance kit, later steps, and convergence to the bilevel solution."""

from __future__ import annotations

import numpy as np
import pytest

import boat_core as boat
from boat_core.testing import Claim, KernelClaim, OperationSuite, QuadraticCase, assert_close, flat

RATE, INNER = 0.1, 0.05


def penalised(case, steps, rate, multiplier, y):
    """T steps on f + F/λ."""
    for _ in range(steps):
        y = y - rate * (case.lower_gradient(y) + case.upper_gradient(y) / multiplier)
    return y


def along(case, y, z, multiplier):
    """The direction: ∇_x f(y) - ∇_x f(z) = -Bᵀ(y - z)."""
    return case.rho * case.x - multiplier * case.B.T @ (y - z)


class TestF2SA(OperationSuite):
    claims = (
        Claim(
            "F2SA",
            options={"F2SA": {"lambda0": 3.0, "inner_rate": INNER}},
            truth=lambda case, steps, rate: along(
                case, penalised(case, steps, rate, 3.0, case.y), case.iterates(steps, INNER)[-1], 3.0
            ),
            lower_truth=lambda case, steps, rate: penalised(case, steps, rate, 3.0, case.y),
            kernels={"plus_columns": KernelClaim((3.0, -3.0), vectors=3)},
        ),
    )


def solver(problem, lower_steps=4, rate=RATE, upper_rate=0.1, **options):
    return boat.Solver(
        problem,
        first_order="F2SA",
        lower_steps=lower_steps,
        lower_optimizer=boat.sgd(rate),
        upper_optimizer=boat.sgd(upper_rate),
        options={"F2SA": options},
    )


def test_z_and_y_continue_and_the_multiplier_grows():
    case = QuadraticCase()
    s, y, z = solver(case.problem, lambda0=2.0, growth=0.5, inner_rate=INNER), case.y, case.y
    for k in range(3):
        multiplier = 2.0 * (k + 1) ** 0.5
        z, y = case.iterates(4, INNER, z)[-1], penalised(case, 4, RATE, multiplier, y)
        case.x = case.x - 0.1 * along(case, y, z, multiplier)
        said = s.step().report.operations["F2SA"]
        assert said["lambda"] == pytest.approx(multiplier)
        assert said["distance"] == pytest.approx(np.linalg.norm(y - z))
        assert_close(s.lower, y, 1e-10)
        assert_close(s.upper, case.x, 1e-10)


def test_both_lower_problems_stay_in_the_lower_set():
    case, low, high = QuadraticCase(), -0.2, 0.3
    start = np.clip(case.y, low, high)
    boxed = boat.Problem(
        case.problem.upper_objective, case.problem.lower_objective, case.x, start, project_lower=(low, high)
    )
    y = z = start
    for _ in range(4):
        z = np.clip(z - RATE * case.lower_gradient(z), low, high)
        y = np.clip(y - RATE * (case.lower_gradient(y) + case.upper_gradient(y) / 5.0), low, high)
    free = penalised(case, 4, RATE, 5.0, start)
    assert np.abs(y - free).max() > 1e-3, "the box must matter"
    s = solver(boxed, lambda0=5.0)
    s.step()
    assert_close(s.lower, y, 1e-9)
    assert_close(s.upper, case.x - 0.1 * along(case, y, z, 5.0), 1e-9)


def test_each_lower_step_has_its_own_batch():
    """f = ½ (y - b_t x)²: z and y see b_0 … b_{T-1} in turn, the direction sees the last."""
    problem = boat.Problem(
        lambda x, y, b: (y * y).sum() / 2 + (x * x).sum() / 2,
        lambda x, y, b: ((y - b * x) * (y - b * x)).sum() / 2,
        np.ones(2),
        np.zeros(2),
    )
    batches = [np.full(2, float(1 + t * t)) for t in range(3)]
    y = z = np.zeros(2)
    for b in batches:
        z, y = z - RATE * (z - b), y - RATE * (y - b + y / 2.0)
    s = solver(problem, lower_steps=3, lambda0=2.0)
    s.step(boat.PerStep(batches))
    assert_close(s.lower, y, 1e-7)
    assert_close(s.upper, 1 - 0.1 * (1 - 2.0 * batches[-1] * (y - z)), 1e-7)


def test_the_direction_is_the_hypergradient_up_to_one_over_the_multiplier():
    """If both lower problems are solved, a tenfold λ makes the error ten times smaller."""
    errors = []
    for multiplier in (10.0, 100.0, 1000.0):
        case = QuadraticCase()
        found = solver(case.problem, lower_steps=300, rate=0.2, lambda0=multiplier).hypergradient().upper
        errors.append(np.linalg.norm(flat(found) - case.implicit_hypergradient(case.solution(case.x))))
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.2) and errors[1] / errors[2] == pytest.approx(10, rel=0.2)


def test_f2sa_approaches_the_solution():
    case = QuadraticCase()
    s, start = solver(case.problem, lower_steps=5, lambda0=5.0), case.excess(case.x)
    for _ in range(200):
        s.step()
    assert case.excess(flat(s.upper)) < 0.01 * start
