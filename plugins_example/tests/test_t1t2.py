"""T1T2 against its closed form on a quadratic problem: ρx + η Bᵀ g."""

from __future__ import annotations

import pytest

import boat_core as boat
from boat_core.testing import QuadraticCase, assert_close


def solver(problem, lower=None, **options):
    return boat.Solver(
        problem,
        approximate="T1T2",
        lower_steps=5,
        lower_optimizer=lower or boat.sgd(0.1),
        upper_optimizer=boat.sgd(0.1),
        options={"T1T2": options},
    )


@pytest.mark.parametrize("eta", [0.1, 0.3])
def test_closed_form(eta):
    case = QuadraticCase()
    h = solver(case.problem, **({} if eta == 0.1 else {"step_size": eta})).hypergradient()
    g = case.upper_gradient(case.iterates(5, 0.1)[-1])
    assert_close(h.upper, case.rho * case.x + eta * case.B.T @ g, 1e-12)


def test_step_size_is_required_under_adam():
    with pytest.raises(boat.OptionError, match="options.T1T2.step_size: required"):
        solver(QuadraticCase().problem, lower=boat.adam(0.1)).hypergradient()
