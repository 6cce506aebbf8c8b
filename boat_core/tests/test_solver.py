"""The solver on toy operations: starts, states, batches, policies, and errors that leave the state unchanged."""

from __future__ import annotations

from dataclasses import replace

import jittor as jt
import numpy as np
import optree
import pytest

import boat_core as boat
from boat_core.testing import QuadraticCase, assert_close, flat


def solver(toys, problem, **more):
    settings = dict(lower_steps=3, lower_optimizer=boat.sgd(0.1), upper_optimizer=boat.sgd(0.2), registry=toys)
    return boat.Solver(problem, **(settings | more))


def test_a_step_updates_both_levels(toys):
    case = QuadraticCase(nested=True)
    s = solver(toys, case.problem)
    h = s.hypergradient()
    assert s.iteration == 0
    assert_close(s.upper, case.x, 0)
    result = s.step()
    assert_close(h.upper, case.unrolled_hypergradient(3, 0.1), 1e-12)
    assert_close(s.upper, case.x - 0.2 * flat(h.upper), 1e-12)
    assert_close(s.lower, case.iterates(3, 0.1)[-1], 1e-12)
    assert optree.tree_structure(s.upper) == optree.tree_structure(case.problem.upper)
    y = case.iterates(3, 0.1)[-1]
    assert result.upper_loss == pytest.approx(0.5 * np.sum((y - case.c) ** 2) + 0.5 * case.rho * np.sum(case.x**2))
    assert result.report.hypergradient_norm == pytest.approx(np.linalg.norm(flat(h.upper)))
    assert str(jt.flatten(s.lower["first"]).dtype) == "float64"


def test_the_upper_optimizer_keeps_its_state(toys):
    """With momentum in the upper optimizer, the second step goes along h_1 + μ h_0."""
    s = solver(toys, QuadraticCase().problem, upper_optimizer=boat.sgd(0.2, momentum=0.9))
    first = flat(s.hypergradient().upper)
    s.step()
    between, second = flat(s.upper), flat(s.hypergradient().upper)
    s.step()
    assert_close(s.upper, between - 0.2 * (second + 0.9 * first), 1e-12)


def test_a_method_keeps_its_state(toys):
    s = solver(toys, QuadraticCase().problem, first_order="BOTH")
    assert [s.step().report.operations.get("BOTH") for _ in range(3)] == [{"count": k} for k in range(3)]


def test_input_arrays_are_never_changed(toys):
    case = QuadraticCase()
    x, y = case.problem.upper.copy(), jt.array(case.problem.lower, dtype="float64")
    problem = boat.Problem(case.problem.upper_objective, case.problem.lower_objective, x, y)
    s = solver(toys, problem)
    s.step()
    s.upper.update(jt.zeros_like(s.upper))
    assert_close(x, case.x, 0)
    assert_close(y, case.y, 0)
    assert np.any(s.upper.numpy() != 0)


@pytest.mark.parametrize("start", ["warm", "cold", "upper"])
def test_starts(toys, start):
    case = QuadraticCase(n=3, m=3)
    s = solver(toys, case.problem, start=start)
    s.step()
    expected = {"warm": s.lower, "cold": case.y, "upper": s.upper}[start]
    assert_close(s.start, expected, 0)


def test_start_from_upper_needs_the_same_structure(toys):
    with pytest.raises(boat.StructureError, match=r"y starts at x.*; upper: expected shape \[3\].*got \[4\]"):
        solver(toys, QuadraticCase().problem, start="upper")


def test_carried_lower_state(toys):
    """With momentum carried and a warm start, two iterations of 2 steps are one trajectory of 4."""
    case = QuadraticCase()
    settings = dict(lower_optimizer=boat.sgd(0.1, momentum=0.9), approximate="NONE", upper_optimizer=boat.sgd(1e-12))
    s = solver(toys, case.problem, lower_steps=2, lower_state="carry", **settings)
    s.step(), s.step()
    whole = solver(toys, case.problem, lower_steps=4, **settings)
    whole.step()
    fresh = solver(toys, case.problem, lower_steps=2, **settings)
    fresh.step(), fresh.step()
    assert_close(s.lower, whole.lower, 1e-10)
    assert np.abs(flat(fresh.lower) - flat(whole.lower)).max() > 1e-3


@pytest.mark.parametrize("settings", [{}, {"first_order": "BOTH"}], ids=["chain", "first-order"])
def test_state_and_restore(toys, settings):
    def make():
        return solver(
            toys,
            QuadraticCase(nested=True).problem,
            lower_optimizer=boat.adam(0.1),
            upper_optimizer=boat.adam(0.1),
            lower_state="carry",
            **settings,
        )

    first = make()
    first.step(), first.step()
    state = first.state
    after = first.step()
    second = make()
    second.restore(state)
    assert second.step() == after
    assert_close(second.upper, flat(first.upper), 0)
    assert_close(second.lower, flat(first.lower), 0)


def test_restoring_an_invalid_state_changes_nothing(toys):
    s = solver(toys, QuadraticCase().problem)
    state = s.state | {"upper": np.zeros(5)}
    with pytest.raises(boat.StructureError, match=r"state\['upper'\]: expected an array of shape \[4\]"):
        s.restore(state)
    with pytest.raises(boat.StructureError, match="state: expected the structure"):
        s.restore({"upper": np.zeros(4)})
    assert_close(s.upper, QuadraticCase().x, 0)


def test_projections(toys):
    case = QuadraticCase()
    bounded = boat.Problem(
        case.problem.upper_objective,
        case.problem.lower_objective,
        case.x,
        case.y,
        project_lower=(-0.1, 0.1),
        project_upper=lambda x: jt.maximum(x, jt.zeros_like(x)),
    )
    s = solver(toys, bounded)
    s.step()
    assert np.abs(s.lower.numpy()).max() <= 0.1
    assert s.upper.numpy().min() >= 0
    wrong = boat.Problem(bounded.upper_objective, bounded.lower_objective, case.x, case.y, project_lower=lambda y: [y])
    with pytest.raises(boat.StructureError, match="project_lower: expected the structure"):
        solver(toys, wrong).step()


def test_concerns_are_errors_under_strict(toys):
    result = solver(toys, QuadraticCase().problem, approximate="NONE").step()
    assert result.report.concerns == ("NONE: it looks away",)
    assert result.report.operations == {"NONE": {"seen": 1}}
    strict = solver(toys, QuadraticCase().problem, approximate="NONE", strict=True)
    with pytest.raises(boat.DoubtfulError, match="outer step 0: NONE: it looks away"):
        strict.step()
    assert strict.iteration == 0


def quadratic(upper=None, lower=None, x=(1.0, 2.0), y=(0.5, 0.5)):
    return boat.Problem(
        upper or (lambda x, y, batch: ((y - 1) ** 2).sum() + (x * x).sum()),
        lower or (lambda x, y, batch: ((y - x) ** 2).sum()),
        np.array(x),
        np.array(y),
    )


@pytest.mark.parametrize(
    ("problem", "batches", "place"),
    [
        (quadratic(x=(1.0, np.nan)), (), "the given upper variables: the array itself"),
        (
            quadratic(lower=lambda x, y, b: (b["w"] * (y - x) ** 2).sum()),
            ({"w": np.array([1.0, np.inf])}, None),
            r"lower_batch\['w'\], which the step was given",
        ),
        (
            quadratic(lower=lambda x, y, b: ((y - x) ** 2).sum() * 1e200),
            (),
            r"stage map \(STEP \(toys 1.0\)\), lower step \d: y_\d",
        ),
        (
            quadratic(upper=lambda x, y, b: jt.log(y * 0).sum()),
            (),
            r"stage approximate \(ALL \(toys 1.0\)\): ∇_y F at y_3",
        ),
        (
            quadratic(lower=lambda x, y, b: ((y - x) ** 2).sum() + (jt.sqrt(x * 0) * y).sum()),
            (),
            r"stage approximate \(ALL \(toys 1.0\)\): the pullback of lower step 2, cotangent of x",
        ),
    ],
    ids=["variables", "batch", "map", "upper objective", "pullback"],
)
def test_nan_is_an_error_that_names_the_place(toys, problem, batches, place):
    with pytest.raises(boat.NonFiniteError, match=place):
        solver(toys, problem).step(*batches)


@pytest.mark.parametrize("state", [lambda x: jt.log(x.leaves[0] - 5), lambda x: {"mu": float("nan")}])
def test_nan_in_method_state_is_reported(toys, changed, state):
    apply = toys.find("BOTH").operation.apply
    registry = changed(
        toys,
        "BOTH",
        init=lambda x, y, options: np.zeros(1),
        apply=lambda b, x, y, _, *rest: replace(apply(b, x, y, 0, *rest), state=state(x)),
    )
    with pytest.raises(boat.NonFiniteError, match=r"stage first-order \(BOTH \(toys 1.0\)\): its own state"):
        solver(registry, quadratic(), first_order="BOTH").step()


def test_a_learned_start_keeps_its_optimizers_state(toys):
    learns = boat.Operation(
        name="LEARN",
        stage="map",
        role="modifier",
        start="learned",
        start_optimizer=lambda options: boat.sgd(0.1, momentum=0.9),
        summary="s",
        formula="f",
        source="t",
    )
    toys = toys.adding(learns, distribution="more toys", version="1.0")
    s = solver(toys, QuadraticCase().problem, map=["LEARN"])
    velocity, start = 0.0, QuadraticCase().y
    for _ in range(2):
        velocity = 0.9 * velocity + flat(s.hypergradient().start)
        start = start - 0.1 * velocity
        s.step()
    assert_close(s.start, start, 1e-12)


def test_error_of_an_operation_names_it_and_error_of_an_objective_passes(toys, changed):
    def fails(*given):
        raise KeyError("mu")

    failing = changed(toys, "BOTH", init=lambda x, y, options: fails())
    with pytest.raises(boat.OperationError, match=r"operation BOTH \(toys 1.0\) raised KeyError: 'mu' \(.*test_solver"):
        solver(failing, quadratic(), first_order="BOTH")
    asking = changed(
        toys,
        "BOTH",
        init=None,
        apply=lambda bilevel, x, y, state, descend, k, options: bilevel.upper_gradients(x, y),
    )
    seen = []

    def upper(x, y, batch):
        seen.append(x)
        if len(seen) > 2:  # it was evaluated twice before the operation asks for it
            raise ZeroDivisionError("the user's own")
        return (x * x).sum()

    with pytest.raises(ZeroDivisionError, match="the user's own"):
        solver(asking, quadratic(upper=upper), first_order="BOTH").step()


@pytest.mark.parametrize(
    ("name", "apply", "message"),
    [
        ("STEP", lambda objective, x, y, t, options: y.map(lambda a: a[:1]), "another space: direction"),
        ("STEP", lambda objective, x, y, t, options: y.tree, "for direction, expected Vector"),
        ("SUM", lambda upper, lower, options: None, "NoneType, expected an objective"),
        ("NONE", lambda trajectory, options: boat.Hypergradient(trajectory.x, y0=trajectory.x.joined(trajectory.x)),
         "another space: cotangent of y_0"),
        ("NONE", lambda trajectory, options: boat.Hypergradient(trajectory.x, report=[1]), "list for its report"),
        ("NONE", lambda trajectory, options: boat.Hypergradient(trajectory.x, concerns="bad"), "for its concerns"),
    ],
)  # fmt: skip
def test_a_wrong_return_value_is_named(toys, changed, name, apply, message):
    toys = changed(toys, name, apply=apply)
    with pytest.raises(boat.OperationError, match=rf"operation {name} \(toys 1.0\) returned .*{message}"):
        solver(toys, quadratic(), map="SUM", approximate="NONE").step()


def test_inputs_changed_by_an_operation_are_restored(toys, changed):
    apply, batch = toys.find("NONE").operation.apply, jt.array([1.0, 2.0])
    careless = [True]

    def changing(trajectory, options):
        if careless:
            trajectory.bilevel.upper_batch.assign(trajectory.bilevel.upper_batch + 1)
            trajectory.x.leaves[0].assign(trajectory.x.leaves[0] + 1)
        return apply(trajectory, options)

    toys = changed(toys, "NONE", apply=changing)
    s = solver(toys, quadratic(upper=lambda x, y, b: ((y - b) ** 2).sum() + (x * x).sum()), approximate="NONE")
    before = flat(s.upper)
    with pytest.raises(boat.OperationError, match=r"NONE \(toys 1.0\) changed an array that it was given"):
        s.step(None, batch)
    assert (batch.numpy().tolist(), s.iteration) == ([1.0, 2.0], 0)
    assert np.array_equal(flat(s.upper), before)
    careless.clear()
    s.step(None, batch)


def test_a_selector_must_return_a_view(toys, changed):
    toys = changed(toys, "HALF", apply=lambda trajectory, options: trajectory)
    with pytest.raises(boat.OperationError, match=r"HALF \(toys 1.0\) returned Trajectory, expected tuple"):
        solver(toys, quadratic(), map="SUM", approximate="HALF").step()


def test_report_may_contain_nan(toys):
    problem = quadratic(upper=lambda x, y, b: jt.log(y * 0).sum() + (x * x).sum())
    report = solver(toys, problem, on_nonfinite="report").hypergradient().report
    assert "NaN or infinity in the hypergradient" in report.concerns[0]


def test_after_an_error_nothing_has_changed(toys):
    problem = quadratic(lower=lambda x, y, b: (b * (y - x) ** 2).sum())
    s = solver(toys, problem)
    s.step(np.ones(2))
    before = s.state
    with pytest.raises(boat.NonFiniteError):
        s.step(np.array([1.0, np.nan]))
    assert s.iteration == 1
    assert all(np.array_equal(a, b) for a, b in zip(optree.tree_leaves(before), optree.tree_leaves(s.state)))


@pytest.mark.parametrize(
    ("lower", "message"),
    [
        (lambda x, y, b: (y - x) ** 2, r"lower_objective: expected one number .*shape \[2\]\); is a .mean"),
        (lambda x, y, b: 1.0, r"lower_objective: expected a Jittor array with one number \(got float\)"),
        (lambda x, y, b: (y * jt.rand(2)).sum(), "lower_objective: two evaluations at the same point gave"),
        (lambda x, y, b: (y > x).sum(), "lower_objective: expected a floating-point number"),
    ],
    ids=["shape", "float", "random", "integer"],
)
def test_invalid_objectives_are_refused(toys, lower, message):
    with pytest.raises(boat.ObjectiveError, match=message):
        solver(toys, quadratic(lower=lower)).step()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"lower_steps": 0}, boat.OptionError, "lower_steps: expected an integer >= 1"),
        ({"segment": "some"}, boat.OptionError, "segment: expected an integer >= 1"),
        ({"start": "hot"}, boat.OptionError, r"start: expected one of 'warm', 'cold', 'upper' \(got 'hot'\)"),
        ({"lower_optimizer": 0.1}, boat.OptionError, "lower_optimizer: expected an Optimizer such as"),
        ({"method": "NOTHING"}, boat.CompositionError, "no method 'NOTHING'"),
        (
            {"first_order": "BOTH", "start": "cold"},
            boat.CompositionError,
            "start: BOTH goes on from where y is: expected start='warm'",
        ),
    ],
)
def test_invalid_settings_are_refused(toys, settings, error, message):
    with pytest.raises(error, match=message):
        solver(toys, quadratic(), **settings)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([], "upper: expected a pytree with at least one array"),
        ({"a": "text"}, r"upper\['a'\]: expected a numpy or Jittor array \(got str\)"),
        (np.array([1, 2]), "upper: expected a floating-point array"),
        (np.array([None]), "upper: expected a numeric array"),
    ],
)
def test_invalid_variables_are_refused(toys, x, message):
    problem = boat.Problem(lambda x, y, b: y.sum(), lambda x, y, b: y.sum(), x, np.zeros(2))
    with pytest.raises(boat.StructureError, match=message):
        solver(toys, problem)


def test_per_step_batches_must_be_as_many_as_steps(toys):
    with pytest.raises(boat.StructureError, match="PerStep holds 2 batches for 3 lower steps"):
        solver(toys, quadratic()).step(boat.PerStep([None, None]))


def test_estimate_batch(toys, changed):
    """Estimators at the end point take ∇ψ on the batch of the last step, unless `estimate_batch` is given."""
    seen = []
    toys = changed(toys, "NONE", apply=lambda trajectory, options: _note(seen, trajectory))
    problem = quadratic(lower=lambda x, y, b: (b * y).sum() + (x * x).sum())
    s = solver(toys, problem, approximate="NONE")
    batches = boat.PerStep([np.full(2, 1.0), np.full(2, 2.0), np.full(2, 3.0)])
    s.hypergradient(batches)
    s.hypergradient(batches, estimate_batch=np.full(2, 7.0))
    assert seen == [3.0, 7.0]


def _note(seen, trajectory):
    seen.append(float(trajectory.end.lower_gradient.leaves[0].numpy()[0]))
    return boat.Hypergradient(trajectory.end.direct)


def test_later_steps_compile_no_kernels(toys):
    """Another T, other batches and later outer steps use the kernels of the first step."""
    from boat_core.runtime import KernelWatch

    case = QuadraticCase()
    for steps in (2, 3):
        s = solver(toys, case.problem, lower_steps=steps)
        s.step(), s.step()
    watch = KernelWatch()
    s = solver(toys, case.problem, lower_steps=7)
    s.step(), s.step(), s.hypergradient()
    watch.poll()
    assert watch.names == []


def test_views_of_a_trajectory(toys, changed):
    """The views for selectors and estimators: an earlier end, a shorter pullback, the objective at another point."""
    case, seen = QuadraticCase(), []
    toys = changed(toys, "NONE", apply=lambda trajectory, options: _keep(seen, trajectory))
    solver(toys, case.problem, approximate="NONE", lower_steps=5).hypergradient()
    (trajectory,) = seen
    shorter = trajectory.until(3)
    p, dx = shorter.pullback(shorter.end.upper_gradient)
    assert_close(shorter.end.direct + dx, case.unrolled_hypergradient(3, 0.1), 1e-12)
    assert_close(
        p, np.linalg.matrix_power(np.eye(3) - 0.1 * case.A, 3) @ case.upper_gradient(case.iterates(3, 0.1)[-1])
    )
    _, dx = trajectory.last(2).pullback(trajectory.end.upper_gradient)
    assert_close(trajectory.end.direct + dx, case.unrolled_hypergradient(5, 0.1, last=2), 1e-12)
    moved = trajectory.end.moved(trajectory.iterate(0))
    assert_close(moved.lower_gradient, case.lower_gradient(case.y), 1e-12)
    assert_close(moved.lower_partial, -case.B.T @ case.y, 1e-12)
    assert_close(moved.hessian_product(moved.y), case.A @ case.y, 1e-12)
    assert_close(moved.mixed_product(moved.y), -case.B.T @ case.y, 1e-12)


def _keep(seen, trajectory):
    seen.append(trajectory)
    return boat.Hypergradient(trajectory.end.direct)


def test_numbers_in_a_modifier_are_exact(toys, changed):
    """float32 cannot represent 0.1: rounding it would give a relative error of 1e-8."""

    def spelled(upper, lower, options):
        return lambda x, y, t: lower(x, y, t) + 0.1 * sum((leaf * leaf).mean() for leaf in y.leaves)

    toys = changed(toys, "SUM", apply=spelled)
    case = QuadraticCase()
    found = solver(toys, case.problem, map="SUM", lower_steps=1)
    found.step()
    y = case.y - 0.1 * (case.lower_gradient(case.y) + 0.2 / 3 * case.y)
    assert np.abs(flat(found.lower) - y).max() < 1e-14
