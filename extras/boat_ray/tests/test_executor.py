"""The executor on a real Ray with two workers: the bits of the embedded executor, whatever happens to the workers."""

from __future__ import annotations

import logging

import pytest

import boat_core as boat
from boat_core.testing import network_problem
from boat_ray.executor import RayExecutor
from boat_ray.options import ExecutorOptions
from boat_ray.pool import portion_size

TWO = "{name: ray, workers: 2"
ES = "{map: [NGD], approximate: [ES], options: {ES: {samples: 5, tolerance: null}}, lower_steps: 3, " + (
    "lower_optimizer: {name: sgd, rate: 0.1}, "
)
VFO = "{first_order: VFO, lower_steps: 3, lower_optimizer: {name: sgd, rate: 0.1}, "

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.mark.parametrize(
    ("chain", "options", "tasks"),
    [
        (None, ", group: 2, reduce: tree, batches: workers}", 5),
        (VFO, "}", 3),
        (ES, "}", 1),
    ],
    ids=["sums of workers", "first-order", "function values"],
)
def test_the_bits_are_those_of_the_embedded_executor(
    ray_here, make_job, steps_of, assert_same_bits, chain, options, tasks
):
    chains = {} if chain is None else {"chain": chain}
    here, away = (make_job(one, tasks=tasks, **chains) for one in ("sequential", TWO + options))
    assert_same_bits(steps_of(here), steps_of(away))


def test_a_worker_that_is_killed_changes_nothing(ray_here, make_job, steps_of, assert_same_bits, caplog):
    here, away = (make_job(one, fault="kill") for one in ("sequential", TWO + "}"))
    with caplog.at_level(logging.WARNING, "boat_ray"):
        assert_same_bits(steps_of(here, 3), steps_of(away, 3))
    (line,) = caplog.messages
    assert line.startswith("BOAT: worker ") and line.endswith("its tasks are solved elsewhere")


def test_an_exception_of_the_users_is_raised_once_with_the_workers_traceback(ray_here, make_job, steps_of, caplog):
    job = make_job(TWO + "}", fault="error", step=0)
    with pytest.raises(ValueError, match="the user's own mistake") as raised:
        steps_of(job, 1)
    assert "task 3:" in str(raised.value.__cause__) and "ray_problem.py" in str(raised.value.__cause__)
    (line,) = caplog.messages
    assert "in worker" in line and "task 3" in line


def test_a_solver_from_python_needs_a_factory(ray_here):
    problem = network_problem()
    settings = dict(method="RHG", lower_steps=1, lower_optimizer=boat.sgd(0.1), upper_optimizer=boat.sgd(0.1))
    with RayExecutor(ExecutorOptions(workers=2)) as executor:
        solver = boat.Solver(problem, executor=executor, **settings)
        with pytest.raises(boat.RunError, match=r"RayExecutor\(factory=make_solver\)"):
            solver.step(*problem.batches(0, None))


def test_portions_follow_the_speed_and_are_worth_their_message():
    assert portion_size(100, 0.5, None) == 25  # half of the share
    assert portion_size(100, 0.9, 10.0) == 45 and portion_size(100, 0.1, 10.0) == 5
    assert portion_size(100, 0.5, 10_000.0) == 50  # 20 ms would be 200 items, and the share is 50
    assert portion_size(3, 0.01, 10.0) == 1 and portion_size(1, 1.0, 1e6) == 1
