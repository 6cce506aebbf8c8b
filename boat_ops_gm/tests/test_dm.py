"""DM against its recursion in numpy, over several iterations, and what it does not go with."""

from __future__ import annotations

import numpy as np
import pytest

import boat_core as boat
from boat_core.testing import QuadraticCase, assert_close

BETA, ALPHA, ETA, TAU, P, MU0 = 0.1, 0.05, 0.2, 0.1, 3.0, 0.8


def solver(problem, chain=("DM",), **more):
    settings = dict(lower_steps=1, lower_optimizer=boat.sgd(BETA), upper_optimizer=boat.sgd(ALPHA))
    options = {"DM": {"multiplier_rate": ETA, "tau": TAU, "p": P, "mu0": MU0} | more.pop("dm", {})}
    return boat.Solver(problem, map=list(chain), **(settings | {"options": options} | more))


@pytest.mark.parametrize(("schedule", "of_v", "of_x"), [("s1", 2, 7), ("s2", 1, 5), ("s3", 0, 3)])
@pytest.mark.parametrize("chain", [["DM"], ["GDA", "DM"]], ids="+".join)
@pytest.mark.parametrize("estimator", ["RAD", "CG"])
def test_recursion(schedule, of_v, of_x, chain, estimator):
    case = QuadraticCase()
    s = solver(case.problem, chain, approximate=estimator, dm={"schedule": schedule})
    x, y, v = case.x, case.y, np.zeros(3)
    for k in range(4):
        mu = MU0 * (k + 1) ** (-1 / P) if "GDA" in chain else 0.0
        case.x = x
        psi_y = mu * case.upper_gradient(y) + (1 - mu) * case.lower_gradient(y)
        hessian, mixed = mu * np.eye(3) + (1 - mu) * case.A, -(1 - mu) * case.B
        hypergradient = case.rho * x - mixed.T @ v
        residual = hessian @ v - case.upper_gradient(y)
        if estimator == "CG":
            eta = residual @ residual / (residual @ hessian @ residual)
        else:
            eta = ETA * (mu**of_v if mu else 1.0) * (k + 1) ** (-TAU / 2)
        rate = ALPHA * (mu**of_x * (k + 1) ** (-1.5 * TAU) if mu else (k + 1) ** -TAU)
        assert_close(s.hypergradient().upper, hypergradient, 1e-10)
        said = s.step().report.operations["DM"]
        assert said["eta"] == pytest.approx(eta)
        x, y, v = x - rate * hypergradient, y - BETA * psi_y, v - eta * residual
        assert_close(s.upper, x, 1e-10)
        assert_close(s.lower, y, 1e-10)


def test_the_schedule_scales_the_step_of_any_upper_optimizer():
    """Adam's step does not feel the size of the hypergradient; it does feel the rate."""
    steps = []
    for tau in (0.0, 0.9):
        s = solver(QuadraticCase().problem, upper_optimizer=boat.adam(0.1), dm={"tau": tau})
        s.step()
        before = s.upper.numpy()
        s.step()
        steps.append(s.upper.numpy() - before)
    assert_close(steps[1], steps[0] * 2**-0.9, 1e-6)


def test_no_curvature_no_step_of_the_multiplier():
    problem = boat.Problem(
        upper_objective=lambda x, y, batch: y.sum() + (x * x).sum(),
        lower_objective=lambda x, y, batch: -(y * y).sum() - (x * y).sum(),
        upper=np.ones(2),
        lower=np.zeros(2),
    )
    result = solver(problem, approximate="CG").step()
    assert result.report.operations["DM"]["eta"] == 0.0
    assert "met curvature -2 <= 0" in result.report.concerns[0]
    with pytest.raises(boat.DoubtfulError, match="DM: the line search met curvature -2"):
        solver(problem, approximate="CG", strict=True).step()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"lower_steps": 2}, boat.OptionError, r"lower_steps: DM works with 1 only \(got 2\)"),
        ({"start": "cold"}, boat.CompositionError, "start: DM goes on from where y is: expected start='warm'"),
        (
            {"chain": ["GDA", "DM"], "options": {"GDA": {"alpha": 0.3}}},
            boat.OptionError,
            "options.GDA.alpha: DM sets this",
        ),
        (
            {"chain": ["GDA", "DM"], "options": {"GDA": {"decay": 0.3}}},
            boat.OptionError,
            "options.GDA.decay: DM sets this",
        ),
        (
            {"approximate": "CG", "options": {"CG": {"damping": 0.3}}},
            boat.OptionError,
            "options.CG.damping: DM sets this",
        ),
    ],
)
def test_what_it_does_not_go_with(settings, error, message):
    with pytest.raises(error, match=message):
        solver(QuadraticCase().problem, **settings)
