"""GDA: estimators at the end point see the aggregated objective of the last step."""

from __future__ import annotations

import numpy as np

import boat_core as boat
from boat_core.testing import QuadraticCase, assert_close

STEPS, RATE, ALPHA, DECAY = 4, 0.1, 0.4, 0.7


def test_gda_with_cg_solves_with_the_aggregated_hessian():
    case = QuadraticCase()
    s = boat.Solver(
        case.problem,
        map=["GDA"],
        approximate="CG",
        lower_steps=STEPS,
        lower_optimizer=boat.sgd(RATE),
        upper_optimizer=boat.sgd(0.1),
        options={"GDA": {"alpha": ALPHA, "decay": DECAY}, "CG": {"tolerance": 1e-12}},
    )
    h = s.hypergradient()
    s.step()
    a = ALPHA * DECAY ** (STEPS - 1)
    hessian = a * np.eye(3) + (1 - a) * case.A
    q = np.linalg.solve(hessian, case.upper_gradient(s.lower.numpy()))
    assert_close(h.upper, case.rho * case.x + (1 - a) * case.B.T @ q, 1e-10)
