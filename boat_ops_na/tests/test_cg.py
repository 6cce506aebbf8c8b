"""CG against the closed form of implicit differentiation, and the cases in which the solve must stop."""

from __future__ import annotations

import jittor as jt
import numpy as np
import pytest

import boat_core as boat
from boat_core.testing import QuadraticCase, assert_close

STEPS, RATE = 5, 0.1


def solver(problem, strict=False, **options):
    return boat.Solver(
        problem,
        approximate="CG",
        lower_steps=STEPS,
        lower_optimizer=boat.sgd(RATE),
        upper_optimizer=boat.sgd(0.1),
        options={"CG": options},
        strict=strict,
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-11), ("float32", 1e-4)])
@pytest.mark.parametrize("damping", [0.0, 0.5])
def test_closed_form(dtype, tolerance, damping):
    case = QuadraticCase(dtype=dtype)
    h = solver(case.problem, tolerance=1e-12 if dtype == "float64" else 1e-5, damping=damping).hypergradient()
    assert_close(h.upper, case.implicit_hypergradient(case.iterates(STEPS, RATE)[-1], damping), tolerance)
    said = h.report.operations["CG"]
    assert said["stopped"] == "tolerance" and said["iterations"] <= 4 and not h.report.concerns


def test_unconverged_solve_is_reported_and_an_error_under_strict():
    case = QuadraticCase()
    h = solver(case.problem, max_iterations=1).hypergradient()
    said = h.report.operations["CG"]
    assert said["stopped"] == "max_iterations" and said["iterations"] == 1
    q = np.linalg.lstsq(case.B.T, boat_flat(h.upper) - case.rho * case.x, rcond=None)[0]
    g = case.upper_gradient(case.iterates(STEPS, RATE)[-1])
    assert said["relative_residual"] == pytest.approx(np.linalg.norm(case.A @ q - g) / np.linalg.norm(g))
    assert "did not converge" in h.report.concerns[0]
    with pytest.raises(boat.DoubtfulError, match="CG: the solve did not converge"):
        solver(case.problem, strict=True, max_iterations=1).hypergradient()


def boat_flat(tree):
    return tree.numpy().ravel()


@pytest.mark.parametrize(("second", "kept"), [(-1.0, 0.0), (0.0, 0.0)], ids=["negative", "zero"])
def test_nonpositive_curvature_ends_the_solve(second, kept):
    """f = ½(y₁² + s y₂²) - xᵀy with g along y₂ alone: the first direction has curvature s, so q stays 0."""
    scale = np.array([1.0, second])
    problem = boat.Problem(
        upper_objective=lambda x, y, batch: y[1:].sum() + (x * x).sum(),
        lower_objective=lambda x, y, scale: (scale * y * y).sum() - (x * y).sum(),
        upper=np.array([1.0, 2.0]),
        lower=np.zeros(2),
    )
    h = solver(problem).hypergradient(scale)
    assert h.report.operations["CG"]["stopped"] == "curvature"
    assert h.report.operations["CG"]["smallest_curvature"] == pytest.approx(2 * second)
    assert "curvature" in h.report.concerns[0]
    assert_close(h.upper, [2.0, 4.0])


def test_solve_returns_the_iterate_of_smallest_residual():
    """A = diag(1, 100), g = (10, 1): one iteration raises the residual fivefold, so q = 0 is the better answer."""
    problem = boat.Problem(
        upper_objective=lambda x, y, g: (g * y).sum() + (x * x).sum(),
        lower_objective=lambda x, y, A: (A * y * y).sum() / 2 - (x * y).sum(),
        upper=np.array([1.0, 2.0]),
        lower=np.zeros(2),
    )
    h = solver(problem, max_iterations=1).hypergradient(np.array([1.0, 100.0]), np.array([10.0, 1.0]))
    assert h.report.operations["CG"]["relative_residual"] == 1.0
    assert_close(h.upper, [2.0, 4.0])


def test_zero_upper_gradient_needs_no_iteration():
    """∇_y F = 0: q = 0 without an iteration, and no NaN."""
    problem = boat.Problem(lambda x, y, b: (x * x).sum(), lambda x, y, b: ((x - y) ** 2).sum(), np.ones(2), np.zeros(2))
    h = solver(problem).hypergradient()
    assert_close(h.upper, [2.0, 2.0])
    assert h.report.operations["CG"]["iterations"] == 0


def test_nan_in_the_hessian_is_an_error():
    """√ at 0 has no second derivative: the NaN must surface, although the iterates and ∇F are finite."""
    problem = boat.Problem(
        upper_objective=lambda x, y, batch: ((y - 1) ** 2).sum(),
        lower_objective=lambda x, y, batch: (jt.abs(y - y.detach()) ** 1.5).sum() - (x * y).sum(),
        upper=np.ones(2),
        lower=np.zeros(2),
    )
    with pytest.raises(boat.NonFiniteError, match=r"stage approximate \(CG\).*∇²_yy"):
        solver(problem).hypergradient()
