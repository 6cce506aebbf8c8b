"""T1T2 in the conformance kit, with its closed form on a quadratic problem: ρx + η Bᵀ g."""

from __future__ import annotations

import pytest

import boat_core as boat
from boat_core.testing import Claim, OperationSuite, QuadraticCase


class TestT1T2(OperationSuite):
    claims = (
        Claim(
            "T1T2",
            options={"T1T2": {"step_size": 0.3}},
            truth=lambda case, steps, rate: (
                case.rho * case.x + 0.3 * case.B.T @ case.upper_gradient(case.iterates(steps, rate)[-1])
            ),
        ),
    )


def test_step_size_is_required_under_adam():
    with pytest.raises(boat.OptionError, match="options.T1T2.step_size: required"):
        boat.Solver(
            QuadraticCase().problem,
            approximate="T1T2",
            lower_steps=2,
            lower_optimizer=boat.adam(0.1),
            upper_optimizer=boat.adam(0.1),
        )
