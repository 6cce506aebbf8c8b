"""WARP against its closed form, in the conformance kit, and its two ways to learn the start."""

from __future__ import annotations

import jittor as jt
import numpy as np
import pytest

import boat_core as boat
from boat_core.testing import Claim, OperationSuite, QuadraticCase, assert_close

pytestmark = pytest.mark.usefixtures("single_operators")
STEPS, RATE = 4, 0.1


def along_the_trajectory(case, steps, rate):
    """Σ_t (ρx + ηBᵀ(y_{t+1} - c)): what each step alone makes of x."""
    ys = case.iterates(steps, rate)[1:]
    return sum(case.rho * case.x + rate * case.B.T @ case.upper_gradient(y) for y in ys)


class TestWarp(OperationSuite):
    claims = (Claim("WARP", truth=along_the_trajectory, lower_truth=lambda case, *how: case.iterates(*how)[-1]),)


class Displaced:
    """f(s + y; φ) and F(s + y; φ) with x = (s, φ): the start is a part of x, and y begins at 0."""

    def __init__(self):
        self.case = QuadraticCase(seed=3, n=2, m=3)
        self.start = np.array([0.3, -1.0, 0.5])
        A, B, b, c = (jt.array(v, dtype="float64") for v in (self.case.A, self.case.B, self.case.b, self.case.c))

        def theta(x, y):
            return x["start"] + y

        def times(matrix, vector):
            return jt.matmul(matrix, vector.reshape((-1, 1))).reshape((-1,))

        def lower(x, y, batch):
            w = theta(x, y)
            return 0.5 * (w * times(A, w)).sum() - (w * (times(B, x["warp"]) + b)).sum()

        def upper(x, y, batch):
            w = theta(x, y) - c
            return 0.5 * (w * w).sum() + 0.125 * (x["warp"] * x["warp"]).sum()

        x = {"start": self.start, "warp": self.case.x}
        self.problem = boat.Problem(upper, lower, x, np.zeros(3))

    def solver(self, **options):
        return boat.Solver(
            self.problem,
            method="WarpGrad",
            options={"WARP": options},
            start="cold",
            lower_steps=STEPS,
            lower_optimizer=boat.sgd(RATE),
            upper_optimizer=boat.sgd(0.1),
        )

    @property
    def iterates(self):
        return self.case.iterates(STEPS, RATE, self.start)


def test_start_in_x_descends_the_loss_at_the_end_and_the_warp_the_sum_of_all_steps():
    displaced = Displaced()
    case, ys = displaced.case, displaced.iterates
    h = displaced.solver(start="start", start_weight=0.7).hypergradient().upper
    decay = np.eye(3) - RATE * case.A
    assert_close(h["start"], 0.7 * np.linalg.matrix_power(decay, STEPS) @ case.upper_gradient(ys[-1]), 1e-9)
    assert_close(h["warp"], sum(case.rho * case.x + RATE * case.B.T @ case.upper_gradient(y) for y in ys[1:]), 1e-9)
    plain = displaced.solver().hypergradient().upper
    assert_close(plain["start"], sum(decay @ case.upper_gradient(y) for y in ys[1:]), 1e-9)
    assert_close(plain["warp"], h["warp"], 1e-12)


def test_start_that_is_no_entry_of_x_is_an_error_with_the_entries():
    with pytest.raises(boat.BoatError, match=r"start: expected an entry of x \(got begin\); start, warp"):
        Displaced().solver(start="begin").hypergradient()


def test_learned_start_has_the_cotangent_through_the_whole_trajectory():
    case = QuadraticCase(seed=4)
    solver = boat.Solver(
        case.problem,
        map=["DI", "NGD"],
        approximate="WARP",
        lower_steps=STEPS,
        lower_optimizer=boat.sgd(RATE),
        upper_optimizer=boat.sgd(0.1),
    )
    h = solver.hypergradient()
    decay = np.linalg.matrix_power(np.eye(3) - RATE * case.A, STEPS)
    assert_close(h.start, decay @ case.upper_gradient(case.iterates(STEPS, RATE)[-1]), 1e-9)
    assert_close(h.upper, along_the_trajectory(case, STEPS, RATE), 1e-9)


def test_lower_optimizer_that_steps_by_signs_is_a_concern():
    settings = dict(approximate=["WARP"], lower_steps=2, upper_optimizer=boat.sgd(0.1))
    solver = boat.Solver(QuadraticCase(0).problem, lower_optimizer=boat.lion(0.1), **settings)
    (concern,) = solver.hypergradient().report.concerns
    assert "steps by signs of gradients" in concern
