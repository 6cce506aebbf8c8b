"""The engine: programs of the lower steps have the very bits of the ordinary steps, in every installed solver."""

from __future__ import annotations

import jittor as jt
import numpy as np
import optree
import pytest

import boat_core as boat
from boat_core.autodiff.derivatives import counting
from boat_core.optimizers import RULES
from boat_core.plugins.discovery import installed
from boat_core.testing import network_problem
from boat_core.testing.claims import make_solver, network_for

STEPS = 5
TRAJECTORIES = [one for one in boat.solvers() if not (one.first_order or one.own_adjoint)]


def two_steps(composition, problem, engine, batches=None, **settings):
    """Return all that two outer steps leave, their reports, and the derivatives that they took."""
    given = problem.batches(0, None) if batches is None else batches
    keywords = given if isinstance(given, dict) else dict(zip(("lower_batch", "upper_batch"), given))
    settings = {"lower_steps": STEPS, "segment": "auto"} | settings
    solver = make_solver(composition, problem, installed(), engine=engine, **settings)
    with counting() as counted:
        reports = [solver.step(**keywords).report for _ in range(2)]
    leaves = [np.asarray(leaf) for leaf in optree.tree_leaves(dict(solver.state))]
    return leaves, reports, (counted.gradients, counted.hvps)


def assert_same(composition, problem, batches=None, engine="programs", **settings):
    plain, plain_reports, plain_count = two_steps(composition, problem, "plain", batches, **settings)
    auto, reports, count = two_steps(composition, problem, "auto", batches, **settings)
    assert reports == plain_reports
    assert [report.engine for report in reports] == [engine] * 2
    assert count == plain_count
    for a, b in zip(auto, plain, strict=True):
        assert a.tobytes() == b.tobytes()


def chain(*names, approximate=("RAD",)):
    return boat.compose(map=names or ("NGD",), approximate=approximate)


@pytest.mark.parametrize("composition", TRAJECTORIES, ids=str)
def test_every_solver_has_the_bits_of_the_ordinary_steps(composition):
    assert_same(composition, network_for(composition)[0])


@pytest.mark.parametrize("segment", ["all", 1])
@pytest.mark.parametrize("names", [("NGD",), ("GDA", "NGD"), ("DI", "NGD")], ids="+".join)
def test_bits_in_float32(names, segment):
    assert_same(chain(*names), network_problem(dtype="float32"), segment=segment)


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(rule, id=rule.name, marks=() if rule.name in ("sgd", "adam") else pytest.mark.nightly)
        for rule in RULES
    ],
)
def test_every_optimizer_has_the_bits_of_the_ordinary_steps(rule):
    """Those whose formula branches on the number of the step are left to the ordinary steps, with the reason."""
    branches = {"radam", "adagrad", "rprop", "asgd", "adan"}
    engine = "plain: the step looks at its number t" if rule.name in branches else "programs"
    assert_same(chain(), network_problem(), engine=engine, lower_optimizer=rule(rate=0.05), lower_state="carry")


@pytest.mark.parametrize(
    ("optimizer", "engine"),
    [
        (boat.sgd(lambda t: 0.1 / (1 + t)), "programs"),
        (boat.sgd(lambda t: 0.1 if t < 3 else 0.05), "programs"),
        (boat.sgd(lambda t: jt.array([0.1])), "plain: the step reads values of arrays (by item() or numpy(), say)"),
    ],
    ids=("formula", "branch", "array"),
)
def test_schedules_have_the_bits_of_the_ordinary_steps(optimizer, engine):
    assert_same(chain(), network_problem(), lower_optimizer=optimizer, engine=engine)


@pytest.mark.parametrize("plain", [{"kernels": "plain"}, {"operators": "plain"}], ids=("kernels", "operators"))
@pytest.mark.parametrize("segment", ["sqrt", 2])
def test_bits_without_our_kernels_and_operators(plain, segment):
    assert_same(chain(), network_problem(), segment=segment, lower_optimizer=boat.adam(0.01), **plain)


def test_hyperparameters_that_are_upper_variables():
    problem = network_problem(upper="start")
    assert_same(chain(), problem, lower_optimizer=lambda x: boat.sgd(jt.exp(-2.0 + x["out"][0:1, 0]), momentum=0.5))


def test_a_batch_for_each_step_and_tasks():
    problem = network_problem()
    lower, upper = problem.batches(0, None)
    several = boat.PerStep([{key: value + 0.1 * t for key, value in lower.items()} for t in range(STEPS)])
    assert_same(chain(), problem, (several, upper))
    fewer = {key: value[:4] for key, value in upper.items()}
    tasks = {"a": (lower, upper), "b": (several, fewer), "c": (several.batches[1], upper)}
    # Two tasks share a program, and that of unlike shapes has its own.
    assert_same(chain(), problem, {"tasks": tasks}, lower_optimizer=boat.adam(0.05), lower_state="carry")


def test_resumed_run_has_the_bits_of_an_uninterrupted_one():
    problem, settings = network_problem(), {"lower_steps": STEPS, "lower_optimizer": boat.adam(0.05)}
    batches = problem.batches(0, None)
    one, two = (make_solver(chain("GDA", "NGD"), problem, installed(), **settings) for _ in range(2))
    for _ in range(2):
        one.step(*batches)
    two.restore(one.state)
    for solver in (one, two):
        solver.step(*batches)
    for a, b in zip(optree.tree_leaves(dict(one.state)), optree.tree_leaves(dict(two.state)), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_what_a_step_leaves_for_its_pullback_is_not_larger_than_its_graph():
    problem = network_problem()
    held = {
        engine: make_solver(chain(), problem, installed(), engine=engine).held(*problem.batches(0, None))
        for engine in ("auto", "plain")
    }
    assert 0 < held["auto"]["graph_bytes"] <= held["plain"]["graph_bytes"]
