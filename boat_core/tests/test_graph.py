"""`Solver.graph`: the structure of one hypergradient, on toy operations."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import boat_core as boat
from boat_core.bilevel.graph import Leaf, spans
from boat_core.testing import network_problem

STEPS = 5


def solver(toys, **more):
    settings = dict(lower_steps=STEPS, lower_optimizer=boat.sgd(0.1), upper_optimizer=boat.adam(0.1), registry=toys)
    return boat.Solver(network_problem(), **(settings | more))


def graph(toys, **more):
    one = solver(toys, **more)
    return one.graph(*one.problem.batches(0, None))


@pytest.mark.parametrize(
    ("segment", "kept_iterates", "kept_graphs", "rebuilt", "recomputed"),
    [
        (1, ((0, 5),), (), ((0, 4),), ()),
        (3, ((0, 5),), ((2, 4),), ((0, 1),), ()),
        ("all", ((0, 5),), ((0, 4),), (), ()),
        ("sqrt", ((0, 0), (3, 3), (5, 5)), (), ((0, 4),), ((1, 2), (4, 4))),
    ],
)
def test_what_is_held_and_what_is_computed_again(toys, segment, kept_iterates, kept_graphs, rebuilt, recomputed):
    one = solver(toys, segment=segment)
    batches = one.problem.batches(0, None)
    t, held = one.graph(*batches).trajectory, one.held(*batches)
    assert (t.pulled, t.pulled_by) == (((0, 4),), ("ALL",))
    assert (t.kept_iterates, t.kept_graphs, t.rebuilt, t.recomputed) == (
        kept_iterates,
        kept_graphs,
        rebuilt,
        recomputed,
    )
    assert {name: getattr(t, name) for name in held} == held


def test_the_structure_says_what_the_solver_did_and_changes_nothing(toys):
    one = solver(toys, map="SUM", approximate=["HALF", "ALL"])
    batches = one.problem.batches(0, None)
    one.step(*batches)
    before = one.state
    found = one.graph(*batches)
    h = one.hypergradient(*batches)
    after = one.state
    assert np.array_equal(after["upper"], before["upper"])
    assert (after["iteration"], found.iteration, found.problem) == (1, 1, "network")
    assert found.norm == pytest.approx(h.report.hypergradient_norm)
    assert found.solver == "SUM + STEP | HALF + ALL"
    assert [(s.name, s.report) for s in found.stages] == [("SUM", {}), ("STEP", {}), ("HALF", {"kept": 1}), ("ALL", {})]
    assert (found.trajectory.kept, found.trajectory.pulled) == (1, ((4, 4),))
    assert (found.gradients, found.hvps) == (STEPS + 1, 1)  # all graphs fit into the memory
    assert found.lower[1:] == (Leaf("['hidden']['weight']", (2, 3), "float64"), Leaf("['out']", (3, 1), "float64"))
    assert found.upper == (Leaf("", (6,), "float64"),)
    assert (found.upper_optimizer["name"], found.lower_optimizer["rate"]) == ("adam", 0.1)
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["trajectory"]["bytes"] == found.trajectory.bytes


def test_operators_are_those_of_one_direction(toys):
    found = graph(toys, lower_steps=2)
    products = [o for o in found.operators if o.name == "boat_matmul"]
    assert ((6, 3),) in [o.shapes for o in products]
    assert {dtype for o in found.operators for dtype in o.dtypes} == {"float64"}
    assert found.operators == graph(toys, lower_steps=3).operators
    assert [o.name for o in graph(toys, operators="plain").operators].count("boat_matmul") == 0


def test_a_method_holds_nothing(toys):
    found = graph(toys, first_order="BOTH")
    assert (found.trajectory, found.hvps, found.gradients) == (None, 0, 1)
    assert found.stages[0].carries
    assert found.operators


def test_trajectories_from_elsewhere_are_counted_apart(toys):
    def around(trajectory, options):
        start, unrolled = trajectory.unrolled.iterate(0), trajectory.unrolled
        for _ in range(3):
            unrolled.end_from(start, unrolled.parameters, trajectory.steps)
        return boat.Hypergradient(trajectory.end.direct)

    none = next(e for e in toys.entries if e.name == "NONE")
    toys = toys.adding(replace(none.operation, name="AROUND", apply=around), distribution="toys", version="1.0")
    t = graph(toys, approximate="AROUND").trajectory
    assert (t.again, t.recomputed, t.pulled, t.end_point) == (3, (), (), True)


def test_graph_is_of_the_first_task(toys):
    one = solver(toys)
    found = one.graph(tasks={"a": one.problem.batches(0, None), "b": one.problem.batches(1, None)})
    assert (found.task, found.tasks) == ("a", 2)


def test_errors_of_the_hypergradient_are_those_of_the_graph(toys):
    with pytest.raises(boat.DoubtfulError, match="outer step 0: NONE: it looks away"):
        graph(toys, approximate="NONE", strict=True)


def test_without_a_compiler_there_are_no_operators(toys, monkeypatch):
    monkeypatch.setattr("boat_core.autodiff.operators.library.operators", lambda: None)
    found = graph(toys)
    assert (found.operators, found.trajectory.graph_bytes) == (None, 0)


def test_spans():
    assert spans([]) == ()
    assert spans([3, 1, 2, 7, 7]) == ((1, 3), (7, 7))
