"""Several lower problems under one x: mean hypergradients, warm starts by name, errors that name the task."""

from __future__ import annotations

import json

import numpy as np
import optree
import pytest

import boat_core as boat
from boat_core.testing import assert_close, flat

pytestmark = pytest.mark.usefixtures("single_operators")


def problem(**more):
    """F = ½‖y - u‖² + ½‖x‖², f = ½‖y - l x‖², with l and u the batches of a task."""
    return boat.Problem(
        lambda x, y, u: ((y - u) * (y - u)).sum() / 2 + (x * x).sum() / 2,
        lambda x, y, l: ((y - l * x) * (y - l * x)).sum() / 2,
        np.array([1.0, -2.0]),
        np.array([0.5, 0.5]),
        **more,
    )


def solver(toys, **more):
    settings = dict(lower_steps=3, lower_optimizer=boat.sgd(0.2), upper_optimizer=boat.sgd(0.1))
    return boat.Solver(problem(), registry=toys, **(settings | more))


A, B = (np.array([1.0, 2.0]), np.array([0.0, 1.0])), (np.array([-1.0, 0.5]), np.array([2.0, 2.0]))


def test_the_hypergradient_is_the_mean_over_tasks(toys):
    alone = [flat(solver(toys).hypergradient(*pair).upper) for pair in (A, B)]
    together = solver(toys).hypergradient(tasks=[A, B])
    assert_close(together.upper, (alone[0] + alone[1]) / 2, 1e-12)
    s, losses = solver(toys), [solver(toys).step(*pair).upper_loss for pair in (A, B)]
    assert s.step(tasks=[A, B]).upper_loss == pytest.approx(np.mean(losses))
    assert_close(s.upper, problem().upper - 0.1 * (alone[0] + alone[1]) / 2, 1e-12)


@pytest.mark.parametrize("settings", [{}, {"first_order": "BOTH"}], ids=["chain", "first-order"])
def test_warm_starts_are_kept_by_task_name(toys, settings):
    s = solver(toys, upper_optimizer=boat.sgd(1e-300), **settings)
    s.step(tasks={"a": A}), s.step(tasks={"b": B})
    at_b = flat(s.lower["b"])
    s.step(tasks={"a": A})
    twice = solver(toys, upper_optimizer=boat.sgd(1e-300), **settings)
    twice.step(*A), twice.step(*A)
    assert_close(s.lower["a"], flat(twice.lower), 1e-12)
    assert_close(s.lower["b"], at_b, 0)
    assert s.start.keys() == s.lower.keys() == {"a", "b"}


def test_without_a_warm_start_no_task_is_remembered(toys):
    s = solver(toys, start="cold")
    s.step(tasks={"a": A}), s.step(tasks={"b": B})
    assert s.lower.keys() == {"b"}
    assert_close(s.start, problem().lower, 0)


def test_carried_state_is_kept_by_task_name(toys):
    s = solver(toys, start="cold", lower_state="carry", lower_optimizer=boat.adam(0.1))
    s.step(tasks={"a": A}), s.step(tasks={"b": B}), s.step(tasks={"a": A})
    counts = {key: one["optimizer"]["count"] for key, one in s.state["lower"].items()}
    assert counts == {"a": 6, "b": 3}


@pytest.mark.parametrize("settings", [{"lower_state": "carry"}, {"first_order": "BOTH"}], ids=["chain", "first-order"])
def test_state_and_restore(toys, settings):
    def make():
        return solver(toys, lower_optimizer=boat.adam(0.1), **settings)

    first, second = make(), make()
    first.step(tasks={"a": A, "b": B}), first.step(tasks={"b": B})
    second.restore(first.state)
    assert first.step(tasks={"a": A}) == second.step(tasks={"a": A})
    ends = [optree.tree_leaves(s.state) for s in (first, second)]
    assert all(np.array_equal(a, b) for a, b in zip(*ends))


def test_reports_are_lists_by_task(toys):
    report = solver(toys, approximate="NONE").step(tasks={"a": A, "b": B}).report
    assert report.operations == {"NONE": {"seen": [1, 1]}}
    assert report.concerns == ("task a: NONE: it looks away", "task b: NONE: it looks away")
    json.dumps(report.as_dict(), allow_nan=False)
    with pytest.raises(boat.DoubtfulError, match="outer step 0: task a: NONE: it looks away"):
        solver(toys, approximate="NONE", strict=True).step(tasks={"a": A})


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([], "tasks: expected at least one"),
        (7, "tasks: expected a list or a mapping of pairs"),
        ([A, A[0]], r"tasks\[1\]: expected \(lower_batch, upper_batch\) \(got ndarray\)"),
        ({1: A, "1": B}, r"tasks\['1'\]: expected a unique name that is not empty"),
        ({"a": (boat.PerStep([None]), None)}, "task a: lower_batch: PerStep holds 1 batches for 3 lower steps"),
    ],
)
def test_invalid_tasks_are_refused(toys, tasks, message):
    with pytest.raises(boat.StructureError, match=message):
        solver(toys).step(tasks=tasks)


def test_batches_beside_tasks_are_refused(toys):
    with pytest.raises(boat.StructureError, match="tasks: expected no other batches"):
        solver(toys).step(A[0], tasks=[A])


def test_an_error_names_the_task_and_changes_nothing(toys):
    s = solver(toys)
    s.step(tasks={"a": A, "b": B})
    before = optree.tree_leaves(s.state)
    with pytest.raises(boat.NonFiniteError, match=r"outer step 1: task b: NaN or infinity in lower_batch"):
        s.step(tasks={"a": A, "b": (np.array([np.nan, 1.0]), B[1])})
    assert all(np.array_equal(a, b) for a, b in zip(before, optree.tree_leaves(s.state)))
