"""RAD: segments, the cotangent of the start, and a batch for each step. The table of claims checks its values."""

from __future__ import annotations

import pytest

import boat_core as boat
from boat_core.testing import (
    KernelWatch,
    QuadraticCase,
    assert_close,
    central_differences,
    counting,
    network_problem,
    upper_value,
)

STEPS, RATE = 5, 0.1


def solver(problem, **more):
    settings = dict(lower_steps=STEPS, lower_optimizer=boat.sgd(RATE), upper_optimizer=boat.sgd(0.1))
    return boat.Solver(problem, approximate="RAD", **(settings | more))


@pytest.mark.parametrize(
    ("segment", "memory", "held", "gradients"),
    [
        (1, 0, (0, 6), 2 * STEPS),
        (2, 0, (2, 6), 2 * STEPS - 2),
        ("all", 0, (5, 6), STEPS),
        ("sqrt", 0, (0, 5), 2 * STEPS + 3),  # the ends of two stretches of three are kept
        ("auto", "1 MiB", (5, 6), STEPS),
        ("auto", 0, (0, 5), 2 * STEPS + 3),
        ("auto", 6 * 4 * 8, (0, 6), 2 * STEPS),  # the iterates alone
    ],
)
def test_segment_and_memory_do_not_change_the_hypergradient(segment, memory, held, gradients):
    case = QuadraticCase()
    solving = solver(case.problem, segment=segment, memory=memory)
    found = solving.held()
    assert (found["graphs"], found["iterates"]) == held
    with counting() as counted:
        h = solving.hypergradient()
    assert counted.gradients == gradients + 1  # and ∇F
    assert_close(h.upper, case.unrolled_hypergradient(STEPS, RATE), 1e-12)


@pytest.mark.parametrize("segment", [1, 3, "all", "sqrt", "auto"])
def test_more_lower_steps_compile_no_kernels(segment):
    problem = network_problem()
    batches = problem.batches(0, None)
    for _ in range(2):
        solver(problem, segment=segment).step(*batches)
    watch = KernelWatch()
    solver(problem, segment=segment, lower_steps=3 * STEPS).step(*batches)
    watch.poll()
    assert watch.names == []


def test_nesterov():
    problem = network_problem()
    batches = problem.batches(0, None)
    settings = dict(
        approximate="RAD",
        lower_steps=3,
        lower_optimizer=boat.sgd(RATE, momentum=0.5, nesterov=True),
        upper_optimizer=boat.sgd(0.1),
    )
    h = boat.Solver(problem, **settings).hypergradient(*batches)
    truth = central_differences(lambda x: upper_value(problem, x, batches, **settings), problem.upper)
    assert_close(h.upper, truth, 1e-9)


def test_cotangent_of_the_start():
    case = QuadraticCase()
    h = solver(case.problem).hypergradient()
    g = case.upper_gradient(case.iterates(STEPS, RATE)[-1])
    for _ in range(STEPS):
        g = g - RATE * case.A @ g
    assert_close(h.start, g, 1e-12)


def test_batches_per_step():
    """Each lower step sees its own batch, in the rollout and in the pullback."""
    problem = network_problem()
    lower, upper = problem.batches(0, None)
    batches = boat.PerStep([{k: v[i : i + 3] for k, v in lower.items()} for i in range(3)]), upper
    weights = boat.Problem(problem.upper_objective, _first_rows(problem.lower_objective), problem.upper, problem.lower)
    settings = dict(approximate="RAD", lower_steps=3, lower_optimizer=boat.sgd(RATE), upper_optimizer=boat.sgd(0.1))
    h = boat.Solver(weights, **settings).hypergradient(*batches)
    truth = central_differences(lambda x: upper_value(weights, x, batches, **settings), problem.upper)
    assert_close(h.upper, truth, 1e-9)


def _first_rows(objective):
    return lambda x, y, batch: objective(x[: batch["rows"].shape[0]], y, batch)
