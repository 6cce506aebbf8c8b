"""VSO, PGDO, MESO and GAFFO beyond their first step; ALTO's blindness."""

from __future__ import annotations

import numpy as np
import pytest

import boat_core as boat
from boat_core.testing import QuadraticCase, assert_close

RATE = 0.1


def solver(problem, name, strict=False, lower_steps=4, rate=RATE, **options):
    return boat.Solver(
        problem,
        first_order=name,
        lower_steps=lower_steps,
        lower_optimizer=boat.sgd(rate),
        upper_optimizer=boat.sgd(0.1),
        options={name: options},
        strict=strict,
    )


def test_vso_shrinks_its_four_weights():
    s = solver(QuadraticCase().problem, "VSO", decay=0.5, mu0=0.1, theta0=0.2, sigma0=0.4, slack0=2.0)
    said = [s.step().report.operations["VSO"] for _ in range(3)][-1]
    assert [said[key] for key in ("mu", "theta", "sigma", "slack")] == pytest.approx([0.025, 0.05, 0.1, 0.5])


def test_vso_goes_on_with_z_where_it_was():
    case = QuadraticCase()
    s = solver(case.problem, "VSO", z_steps=2, z_rate=0.05, mu0=0.0, slack0=50.0)
    z = case.y
    for _ in range(3):
        case.x = s.upper.numpy()
        z = case.iterates(2, 0.05, z)[-1]
        s.step()
        assert_close(s.state["lower"][""]["operation"], z, 1e-12)


def test_vso_halves_steps_that_leave_the_barrier_or_climb():
    """With a step size far too large for f every step overshoots; y must not end above z."""
    case = QuadraticCase()
    s = solver(case.problem, "VSO", rate=0.9, z_rate=0.05, slack0=0.05, sigma0=0.1, mu0=0.0, theta0=0.0)
    result = s.step()
    said, y = result.report.operations["VSO"], s.lower.numpy()
    z = case.iterates(4, 0.05)[-1]
    assert said["halvings"] > 4
    assert "steps of y were halved" in result.report.concerns[0]
    assert said["smallest_inside"] > 0

    def barrier(y):
        return case.upper_value(y) - 0.1 * np.log(case.lower_value(z) - case.lower_value(y) + 0.05)

    assert barrier(y) < barrier(z)


def cliff():
    """f has a cliff beside the start: every step of y towards F's minimum leaves the barrier, however short."""
    return boat.Problem(
        upper_objective=lambda x, y, batch: -1e6 * y.sum() + (x * x).sum(),
        lower_objective=lambda x, y, batch: 1e30 * (y * y).sum() + 0.0 * (x * x).sum(),
        upper=np.ones(2),
        lower=np.zeros(2),
    )


def test_a_vso_that_is_stuck_says_so_and_is_an_error_under_strict():
    options = dict(sigma0=1e-300, slack0=1e-9)
    result = solver(cliff(), "VSO", **options).step()
    assert result.report.operations["VSO"]["stopped"] > 0
    assert "stopped at the barrier" in result.report.concerns[0]
    with pytest.raises(boat.DoubtfulError, match="VSO: .* stopped at the barrier"):
        solver(cliff(), "VSO", strict=True, **options).step()


def test_a_barrier_without_an_inside_is_reported_with_its_number():
    """After many halvings of the slack nothing is left of it."""
    s = solver(QuadraticCase().problem, "VSO", decay=1e-200, mu0=0.0)
    s.step(), s.step()
    result = s.step()
    assert result.report.operations["VSO"]["inside"] == 0.0
    assert "the inside of the barrier is 0, not positive" in result.report.concerns[0]


def test_pgdo_raises_its_penalty_evenly_and_keeps_omega():
    case = QuadraticCase()
    s = solver(case.problem, "PGDO", gamma_init=1.0, gamma_max=3.0, gamma_steps=4, inner_rate=0.05)
    gammas = [s.step().report.operations["PGDO"]["gamma"] for _ in range(6)]
    assert gammas == [1.0, 1.5, 2.0, 2.5, 3.0, 3.0]
    omega = case.y
    s = solver(case.problem, "PGDO", gamma_init=1.0, gamma_max=1.0, inner_rate=0.05)
    for _ in range(2):
        case.x, y = s.upper.numpy(), s.lower.numpy()
        omega = case.iterates(4, 0.05, omega)[-1]
        penalty = case.lower_value(y) - case.lower_value(omega)
        assert s.step().report.operations["PGDO"]["penalty"] == pytest.approx(penalty)


def test_pgdo_must_not_fall():
    with pytest.raises(boat.OptionError, match=r"options.PGDO.gamma_max: expected at least gamma_init=2.0 \(got 1.0\)"):
        solver(QuadraticCase().problem, "PGDO", gamma_init=2.0, gamma_max=1.0)


def test_meso_keeps_theta_and_raises_c():
    case = QuadraticCase()
    s = solver(case.problem, "MESO", eta=0.05, gamma=2.0, c0=3.0, p=0.4)
    theta = case.y
    for k in range(3):
        case.x, y, c = s.upper.numpy(), s.lower.numpy(), 3.0 * (k + 1) ** 0.4
        theta = theta - 0.05 * (case.lower_gradient(theta) + (theta - y) / 2.0)
        y = y - RATE * (case.upper_gradient(y) / c + case.lower_gradient(y) - (y - theta) / 2.0)
        said = s.step().report.operations["MESO"]
        assert said["c"] == pytest.approx(c)
        assert_close(s.lower, y, 1e-10)
        assert_close(s.upper, case.x - 0.1 * (case.rho * case.x / c - case.B.T @ (y - theta)), 1e-10)


def test_gaffo_projects_theta_and_y():
    """Over a box θ* is clipped; G and its gradients take the clipped one."""
    case, gamma, low, high = QuadraticCase(), 0.5, -0.2, 0.3
    start = np.clip(case.y, low, high)
    boxed = boat.Problem(
        case.problem.upper_objective, case.problem.lower_objective, case.x, start, project_lower=(low, high)
    )
    s = solver(boxed, "GAFFO", gamma=gamma, c0=2.0, p=0.0)
    fy = case.lower_gradient(start)
    d = start - np.clip(start - gamma * fy, low, high)
    assert np.abs(d - gamma * fy).max() > 1e-3, "the box must matter"
    said = s.step().report.operations["GAFFO"]
    assert said["gap"] == pytest.approx(fy @ d - d @ d / (2 * gamma))
    c = 2.0 / gamma
    direction = case.upper_gradient(start) / c + case.A @ d + fy - d / gamma
    assert_close(s.lower, np.clip(start - RATE * direction, low, high), 1e-9)
    assert_close(s.upper, case.x - 0.1 * (case.rho * case.x / c - case.B.T @ d), 1e-9)


def test_alto_does_not_see_the_lower_response():
    """Where x enters F through y alone, x does not move."""
    problem = boat.Problem(
        lambda x, y, b: ((y - 1) ** 2).sum(), lambda x, y, b: ((y - x) ** 2).sum(), np.full(2, 5.0), np.zeros(2)
    )
    s = solver(problem, "ALTO")
    s.step(), s.step()
    assert_close(s.upper, [5.0, 5.0], 0)


@pytest.mark.parametrize("name", ["VFO", "VSO", "PGDO", "MESO", "ALTO", "GAFFO"])
@pytest.mark.parametrize("start", ["cold", "upper"])
def test_a_start_beside_it_is_refused(name, start):
    with pytest.raises(boat.CompositionError, match=f"start: {name} goes on from where y is"):
        boat.Solver(
            QuadraticCase().problem,
            first_order=name,
            lower_steps=2,
            lower_optimizer=boat.sgd(RATE),
            upper_optimizer=boat.sgd(RATE),
            start=start,
        )
