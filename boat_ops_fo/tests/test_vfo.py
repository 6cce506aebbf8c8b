"""Edge cases of VFO. The table of claims checks its values."""

from __future__ import annotations

import numpy as np

import boat_core as boat
from boat_core.testing import QuadraticCase, assert_close


def solver(problem, **more):
    settings = dict(lower_steps=4, lower_optimizer=boat.sgd(0.1), upper_optimizer=boat.sgd(0.1))
    return boat.Solver(problem, first_order="VFO", **(settings | more))


def test_zero_gradient_of_q_gives_weight_zero():
    """At the lower solution, and with f independent of x, ∇q = 0: λ is 0, not NaN."""
    problem = boat.Problem(
        lambda x, y, b: (x * x).sum() + y.sum(), lambda x, y, b: (y * y).sum(), np.ones(2), np.zeros(2)
    )
    assert solver(problem).step().report.operations["VFO"]["lambda"] == 0.0


def test_inner_rate_defaults_to_the_lower_rate():
    h = [
        solver(QuadraticCase().problem, lower_optimizer=boat.adam(0.07), options=options).hypergradient().upper
        for options in (None, {"VFO": {"inner_rate": 0.07}})
    ]
    assert_close(h[0], h[1].numpy(), 0)
