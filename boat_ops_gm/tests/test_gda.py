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


def test_harmonic_schedule_and_scales_weigh_both_objectives():
    """ψ_t = α/(t + 1) s F + (1 - α/(t + 1)) r f, in the steps and in their pullback."""
    case, s, r = QuadraticCase(), 0.5, 1.5
    weights, y = [(ALPHA / (t + 1) * s, (1 - ALPHA / (t + 1)) * r) for t in range(STEPS)], case.y
    for of_upper, of_lower in weights:
        y = y - RATE * (of_upper * case.upper_gradient(y) + of_lower * case.lower_gradient(y))
    p, total = case.upper_gradient(y), case.rho * case.x
    for of_upper, of_lower in reversed(weights):
        total = total + RATE * of_lower * case.B.T @ p
        p = p - RATE * (of_upper * p + of_lower * case.A @ p)
    solver = boat.Solver(
        case.problem,
        map=["GDA"],
        lower_steps=STEPS,
        lower_optimizer=boat.sgd(RATE),
        upper_optimizer=boat.sgd(0.1),
        options={"GDA": {"alpha": ALPHA, "schedule": "harmonic", "upper_scale": s, "lower_scale": r}},
    )
    assert_close(solver.hypergradient().upper, total, 1e-10)
    solver.step()
    assert_close(solver.lower, y, 1e-10)
