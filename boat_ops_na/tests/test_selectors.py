"""RGT, PTT, IAD and FOA: the views that they return, and the settings that they refuse."""

from __future__ import annotations

import numpy as np
import pytest

import boat_core as boat
from boat_core.testing import QuadraticCase, assert_close, central_differences, network_problem, upper_value

STEPS, RATE = 4, 0.1


def solver(problem, chain, **more):
    settings = dict(lower_steps=STEPS, lower_optimizer=boat.sgd(RATE), upper_optimizer=boat.sgd(0.1))
    return boat.Solver(problem, approximate=chain, **(settings | more))


@pytest.mark.parametrize(("given", "kept"), [({}, 2), ({"last_steps": 1}, 1), ({"last_steps": 4}, 4)])
def test_rgt_keeps_the_last_steps_half_of_them_by_default(given, kept):
    case = QuadraticCase()
    h = solver(case.problem, ["RGT"], options={"RGT": given}).hypergradient()
    assert_close(h.upper, case.unrolled_hypergradient(STEPS, RATE, last=kept), 1e-12)
    assert h.report.operations["RGT"] == {"truncation": kept, "steps": STEPS}


def test_rgt_refuses_more_steps_than_the_lower_steps():
    with pytest.raises(boat.OptionError, match=r"options.RGT.last_steps: expected at most the 4 lower steps \(got 5\)"):
        solver(QuadraticCase().problem, ["RGT"], options={"RGT": {"last_steps": 5}})


def rising_then_falling():
    """F rises and falls along the trajectory y_t = t/8 (in numbers that float64 holds exactly)."""
    return boat.Problem(
        upper_objective=lambda x, y, peak: -(y - peak) * (y - peak) + x * x,
        lower_objective=lambda x, y, batch: -y + 0.0 * x,
        upper=np.ones(1),
        lower=np.zeros(1),
    )


@pytest.mark.parametrize(
    ("peak", "cut"), [(0.25, 2), (0.3125, 2), (-1.0, 1), (9.0, 4)], ids=["inside", "tie", "first", "last"]
)
def test_ptt_cuts_at_the_worst_iterate_and_the_first_on_a_tie(peak, cut):
    s = solver(rising_then_falling(), ["PTT"], lower_optimizer=boat.sgd(0.125))
    said = s.step(None, np.array([peak])).report.operations["PTT"]
    assert (said["steps"], said["of"]) == (cut, STEPS)
    assert_close(s.start, [STEPS / 8], 0)  # a warm start goes on from y_T all the same


def test_rgt_after_ptt_keeps_the_last_steps_of_what_is_left():
    case = QuadraticCase()
    h = solver(case.problem, ["RGT", "PTT"], options={"RGT": {"last_steps": 3}}).hypergradient()
    left = h.report.operations["PTT"]["steps"]
    assert h.report.operations["RGT"] == {"truncation": min(3, left), "steps": left}
    assert_close(h.upper, case.unrolled_hypergradient(left, RATE, last=min(3, left)), 1e-12)


def test_ptt_reports_a_nan_instead_of_comparing_it():
    problem = boat.Problem(
        upper_objective=lambda x, y, batch: (0.25 - y).log().sum() + (x * x).sum(),  # y_3 = 0.3 is outside
        lower_objective=lambda x, y, batch: -y + 0.0 * x,
        upper=np.ones(1),
        lower=np.zeros(1),
    )
    with pytest.raises(boat.NonFiniteError, match=r"stage approximate \(PTT\): F\(x, y_3\) is nan"):
        solver(problem, ["PTT"]).hypergradient()


def test_iad_requires_x_and_y_of_one_structure():
    with pytest.raises(boat.StructureError, match=r"y starts at x.*: expected shape \[3\].*got \[4\]"):
        solver(QuadraticCase(n=4, m=3).problem, ["IAD"])
    with pytest.raises(boat.StructureError, match="y starts at x.*: expected the structure"):
        solver(network_problem(), ["IAD"])


@pytest.mark.parametrize("start", ["warm", "cold"])
def test_other_start_beside_iad_is_refused(start):
    with pytest.raises(boat.CompositionError, match="start: IAD starts y at x: expected start='upper', or none"):
        solver(QuadraticCase(n=3, m=3).problem, ["IAD"], start=start)


def test_iad_starts_every_iteration_at_x():
    case = QuadraticCase(n=3, m=3)
    s = solver(case.problem, ["IAD"])
    s.step()
    case.x = s.upper.numpy()
    assert_close(s.start, case.x, 0)
    s.step()
    assert_close(s.lower, case.iterates(STEPS, RATE, case.x)[-1], 1e-12)


def test_foa_keeps_what_is_linear_in_the_optimizer():
    """Weight decay λ: p_0 = (1 - ηλ)^T g."""
    case, decay = QuadraticCase(n=3, m=3), 0.5
    h = solver(case.problem, ["IAD", "FOA"], lower_optimizer=boat.sgd(RATE, weight_decay=decay)).hypergradient()
    y = case.x
    for _ in range(STEPS):
        y = y - RATE * (case.lower_gradient(y) + decay * y)
    assert_close(h.upper, case.rho * case.x + (1 - RATE * decay) ** STEPS * case.upper_gradient(y), 1e-12)


def test_foa_keeps_the_projection():
    """If the projection holds y at a bound, the start has no influence on y."""
    case = QuadraticCase(n=3, m=3)
    bounded = boat.Problem(
        case.problem.upper_objective, case.problem.lower_objective, case.x, case.y, project_lower=(-0.1, 0.1)
    )
    h = solver(bounded, ["IAD", "FOA"]).hypergradient()
    y, free = case.x, np.ones(3)
    for _ in range(STEPS):
        moved = y - RATE * case.lower_gradient(y)
        y, free = np.clip(moved, -0.1, 0.1), free * (np.abs(moved) < 0.1)
    assert 3 - free.sum() > 0, "the bound must matter"
    assert_close(h.upper, case.rho * case.x + free * case.upper_gradient(y), 1e-12)


@pytest.mark.parametrize("optimizer", [boat.sgd(RATE, momentum=0.9), boat.adam(RATE)], ids=["momentum", "adam"])
def test_foa_is_exact_for_constant_gradients(optimizer):
    """If the gradients do not depend on y, FOA leaves nothing out and is exact."""
    problem = boat.Problem(
        upper_objective=lambda x, y, batch: (y * y * y).sum() + (x * x).sum(),
        lower_objective=lambda x, y, slope: (slope * y).sum(),
        upper=np.array([0.5, -1.0]),
        lower=np.zeros(2),
    )
    batches = np.array([1.0, -2.0]), None
    settings = dict(lower_steps=3, lower_optimizer=optimizer, upper_optimizer=boat.sgd(0.1), start="upper")
    h = boat.Solver(problem, approximate=["IAD", "FOA"], **settings).hypergradient(*batches)
    truth = central_differences(lambda x: upper_value(problem, x, batches, **settings), problem.upper)
    assert_close(h.upper, truth, 1e-9)
