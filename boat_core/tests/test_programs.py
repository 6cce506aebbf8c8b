"""Programs of lower steps: when a step is none, what is checked, and what an ordinary step has that they keep."""

from __future__ import annotations

import signal

import jittor as jt
import numpy as np
import pytest

import boat_core as boat
from boat_core.testing import network_problem

STEPS = 5
kept = []


def solver(toys, lower=None, **settings):
    problem = network_problem()
    if lower is not None:
        whole = problem.lower_objective
        problem = boat.Problem(
            problem.upper_objective,
            lambda x, y, batch: lower(whole(x, y, batch), x, y, batch),
            problem.upper,
            problem.lower,
            problem.batches,
        )
    defaults = {"lower_steps": STEPS, "lower_optimizer": boat.sgd(0.1), "upper_optimizer": boat.sgd(0.1)}
    return boat.Solver(problem, map="STEP", approximate="ALL", registry=toys, **(defaults | settings))


def upper_gradient(toys, lower=None, **settings):
    one = solver(toys, lower, **settings)
    found = one.hypergradient(*one.problem.batches(0, None))
    return found.upper.numpy(), found.report.engine


def hold(value):
    kept.append(value)
    return value


def assign(value, array):
    array.assign(array + 1.0)
    return value


@pytest.mark.parametrize(
    ("lower", "reason"),
    [
        (lambda f, x, y, batch: f if f.item() > 1e9 else 0.5 * f, "reads values"),
        (lambda f, x, y, batch: f * float(y["out"].numpy()[0, 0] < 1e9), "reads values"),
        (lambda f, x, y, batch: f * float(batch["rows"].data[0, 0] < 1e9), "reads values"),
        (lambda f, x, y, batch: f + 0.0 * y["out"][y["out"] > -1e9].sum(), "reads values"),
        (lambda f, x, y, batch: hold(f), "held outside"),
        (lambda f, x, y, batch: f + hold(y["out"] * 2.0).sum(), "held outside"),
        (lambda f, x, y, batch: f + (y["out"] * (jt.random(y["out"].shape) > -1.0)).sum(), "two traces"),
    ],
    ids=("item", "numpy", "data", "mask", "result", "array", "random"),
)
def test_a_step_that_is_no_program_is_taken_as_ever(toys, lower, reason):
    kept.clear()
    gradient, engine = upper_gradient(toys, lower)
    assert engine.startswith("plain: ")
    assert reason in engine
    kept.clear()
    assert np.array_equal(gradient, upper_gradient(toys, lower, engine="plain")[0])


def test_two_traces_must_be_alike(toys):
    calls = iter(range(10**6))
    # Within the tolerance of the check that objectives are reproducible, which is for noise.
    _, engine = upper_gradient(toys, lambda f, x, y, batch: f * (1.0 + 1e-9 * next(calls)))
    assert engine == "plain: a number differs between two traces of the step"
    _, engine = upper_gradient(toys, lambda f, x, y, batch: f + 1e-12 * y["out"].sum() if next(calls) % 2 else f)
    assert engine == "plain: two traces of the step differ"


def test_data_of_two_closures_are_told_apart(toys):
    calls, factors = iter(range(10**6)), [jt.array(np.full(1, 1.0 + 1e-9 * k)).sync() for k in range(2)]
    _, engine = upper_gradient(toys, lambda f, x, y, batch: f * factors[next(calls) % 2])
    assert engine == "plain: two traces of the step differ"


def test_base_map_that_looks_at_the_number_of_the_step(toys, changed):
    def branching(objective, x, y, t, options):
        gradient = boat.gradient(objective(x, y, t), y)
        return gradient if t < 3 else 0.5 * gradient

    toys = changed(toys, "STEP", apply=branching)
    gradient, engine = upper_gradient(toys)
    assert engine == "plain: the step looks at its number t"
    assert np.array_equal(gradient, upper_gradient(toys, engine="plain")[0])


def test_check_replay_compares_the_bits(toys):
    gradient, engine = upper_gradient(toys, check="replay", lower_optimizer=boat.adam(0.1))
    assert engine == "programs"
    assert np.array_equal(gradient, upper_gradient(toys, lower_optimizer=boat.adam(0.1))[0])
    calls = iter(range(10**6))
    # Two calls test that the objective is reproducible, two are the traces.
    with pytest.raises(boat.EngineError, match=r"lower step 0, iterate .* engine: plain"):
        upper_gradient(toys, lambda f, x, y, batch: f if next(calls) < 4 else 1.5 * f, check="replay")


def test_few_steps_are_not_worth_a_program(toys):
    assert upper_gradient(toys, lower_steps=3)[1] == "plain: fewer than 4 lower steps"
    assert upper_gradient(toys, lower_steps=4)[1] == "programs"


@pytest.mark.parametrize(
    ("settings", "lower"),
    [
        ({"lower_optimizer": boat.sgd(1e200)}, None),
        ({}, lambda f, x, y, batch: f + (y["out"] * 0.0).sqrt().sum()),
        ({}, lambda f, x, y, batch: jt.safe_clip(f, -1.0, 1.0)),
    ],
    ids=("infinite", "nan", "guard"),
)
def test_errors_are_those_of_the_ordinary_steps(toys, settings, lower):
    texts = []
    for engine in ("auto", "plain"):
        with pytest.raises(boat.BoatError) as raised:
            upper_gradient(toys, lower, engine=engine, **settings)
        texts.append((type(raised.value), str(raised.value)))
    assert texts[0] == texts[1]


@pytest.mark.parametrize("segment", [1, 3, "all", "sqrt"])
def test_recorder_is_told_what_the_ordinary_steps_tell(toys, segment):
    def seen(engine):
        one = solver(toys, segment=segment, engine=engine)
        graph = one.graph(*one.problem.batches(0, None))
        t = graph.trajectory
        return graph.gradients, graph.hvps, t.kept_iterates, t.kept_graphs, t.pulled, t.rebuilt, t.recomputed

    assert seen("auto") == seen("plain")


def test_two_pullbacks_of_one_trajectory_are_alike(toys):
    def twice(trajectory, options):
        g = trajectory.end.upper_gradient
        first, second = trajectory.pullback(g), trajectory.pullback(g)
        assert trajectory.unrolled.engine == "programs"
        for a, b in zip(first, second):
            assert all(np.array_equal(p.numpy(), q.numpy()) for p, q in zip(a.leaves, b.leaves))
        return boat.Hypergradient(trajectory.end.direct + second[1])

    from dataclasses import replace

    whole = next(entry for entry in toys.entries if entry.name == "ALL").operation
    toys = toys.adding(replace(whole, name="TWICE", apply=twice, default=False), distribution="toys", version="1.0")
    for segment in (1, 2, "sqrt"):
        one = solver(toys, segment=segment)
        one = boat.Solver(
            one.problem, map="STEP", approximate="TWICE", registry=toys, lower_steps=STEPS, segment=segment,
            lower_optimizer=boat.sgd(0.1), upper_optimizer=boat.sgd(0.1),
        )  # fmt: skip
        one.hypergradient(*one.problem.batches(0, None))


def test_interrupt_ends_within_a_step_and_leaves_the_solver_as_it_was(toys):
    def interrupt(number, frame):
        raise KeyboardInterrupt

    one = solver(toys, lower_steps=200_000, segment="sqrt")
    batches, before = one.problem.batches(0, None), one.state
    handler = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.4)
        with pytest.raises(KeyboardInterrupt):
            one.step(*batches)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    assert one.iteration == before["iteration"] == 0
    assert np.array_equal(one.state["upper"], before["upper"])


def test_nothing_of_a_program_outlives_its_step(toys):
    one = solver(toys, lower_optimizer=boat.adam(0.1))
    batches = one.problem.batches(0, None)
    one.step(*batches)
    alive = jt.liveness_info()
    for _ in range(20):
        assert one.step(*batches).report.engine == "programs"
    after = jt.liveness_info()
    assert (after["lived_ops"], after["lived_vars"]) <= (alive["lived_ops"], alive["lived_vars"])
