"""Edge cases and reports of FD, NS and IGA. The table of claims checks their values."""

from __future__ import annotations

import numpy as np
import pytest

import boat_core as boat
from boat_core.testing import QuadraticCase, assert_close

STEPS, RATE = 4, 0.1


def solver(problem, name, lower=None, strict=False, **options):
    return boat.Solver(
        problem,
        approximate=name,
        lower_steps=STEPS,
        lower_optimizer=lower or boat.sgd(RATE),
        upper_optimizer=boat.sgd(0.1),
        options={name: options},
        strict=strict,
    )


@pytest.mark.parametrize("name", ["FD", "NS"])
@pytest.mark.parametrize("lower", [boat.adam(0.1), boat.sgd(0.1, momentum=0.9)], ids=["adam", "momentum"])
def test_a_step_size_is_required_where_the_lower_optimizer_is_not_plain_sgd(name, lower):
    with pytest.raises(
        boat.OptionError, match=f"options.{name}.step_size: required where the lower optimizer is not plain"
    ):
        solver(QuadraticCase().problem, name, lower)
    h = solver(QuadraticCase().problem, name, lower, step_size=0.2).hypergradient()
    assert np.isfinite(h.upper.numpy()).all()


def flat_upper():
    """∇_y F = 0 and ∇_x F = 2x."""
    return boat.Problem(lambda x, y, b: (x * x).sum(), lambda x, y, b: ((x - y) ** 2).sum(), np.ones(2), np.zeros(2))


@pytest.mark.parametrize("name", ["FD", "NS", "IGA"])
def test_a_zero_upper_gradient_gives_the_direct_part(name):
    h = solver(flat_upper(), name).hypergradient()
    assert_close(h.upper, [2.0, 2.0], 1e-12)
    assert not h.report.concerns


def test_fd_is_a_central_difference_at_the_last_but_one_iterate():
    """f = y³x/3: ∇_x f(y±) = (y ± εg)³/3, so that the error of second order in ε shows."""
    problem = boat.Problem(
        lambda x, y, b: (y * y).sum() / 2,
        lambda x, y, b: (x * y * y * y).sum() / 3,
        np.array([0.7]),
        np.array([0.9]),
    )
    y, radius = 0.9, 0.3
    for _ in range(STEPS - 1):
        y = y - RATE * 0.7 * y**2
    g = y - RATE * 0.7 * y**2
    epsilon = radius / abs(g)
    truth = -RATE * ((y + epsilon * g) ** 3 - (y - epsilon * g) ** 3) / 3 / (2 * epsilon)
    h = solver(problem, "FD", radius=radius).hypergradient()
    assert_close(h.upper, [truth], 1e-12)
    assert h.report.operations["FD"]["epsilon"] == pytest.approx(epsilon)


def test_ns_reports_the_size_of_its_last_term():
    said = solver(QuadraticCase().problem, "NS", terms=5).hypergradient().report.operations["NS"]
    case = QuadraticCase()
    g = case.upper_gradient(case.iterates(STEPS, RATE)[-1])
    term = np.linalg.matrix_power(np.eye(3) - RATE * case.A, 4) @ g
    assert said["last_term"] == pytest.approx(np.linalg.norm(term) / np.linalg.norm(g))
    assert said["growth"] < 1


@pytest.mark.parametrize("options", [{"step_size": 2.0}, {"damping": 50.0}], ids=["step size", "damping"])
def test_diverging_series_is_reported_and_an_error_under_strict(options):
    h = solver(QuadraticCase().problem, "NS", terms=6, **options).hypergradient()
    assert h.report.operations["NS"]["growth"] > 1
    assert "the series diverges: a term grew by the factor" in h.report.concerns[0]
    with pytest.raises(boat.DoubtfulError, match="NS: the series diverges"):
        solver(QuadraticCase().problem, "NS", strict=True, terms=6, **options).hypergradient()


def test_iga_reports_its_ratio_and_accepts_a_zero_lower_gradient():
    case = QuadraticCase()
    y = case.iterates(STEPS, RATE)[-1]
    g, d = case.upper_gradient(y), case.lower_gradient(y)
    said = solver(case.problem, "IGA").hypergradient().report.operations["IGA"]
    assert said["ratio"] == pytest.approx(g @ d / (d @ d))
    assert said["norm_lower_gradient"] == pytest.approx(np.linalg.norm(d))

    at_rest = boat.Problem(
        lambda x, y, b: y.sum() + (x * x).sum(), lambda x, y, b: ((x - y) ** 2).sum(), np.ones(2), np.ones(2)
    )
    h = solver(at_rest, "IGA").hypergradient()
    assert_close(h.upper, [2.0, 2.0], 1e-12)
    assert h.report.operations["IGA"]["ratio"] == 0.0
