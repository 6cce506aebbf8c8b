"""ES against what it estimates: exactly where the draws are known, statistically where they are many."""

from __future__ import annotations

import json

import jittor as jt
import numpy as np
import pytest

import boat_core as boat
from boat_core.testing import QuadraticCase, assert_close, check_solver, counting, flat, network_problem

STEPS, RATE = 3, 0.1


def solver(problem, chain="ES", **more):
    options = {"ES": {"samples": 5, **more.pop("es", {})}, **more.pop("options", {})}
    if "ES" not in np.atleast_1d(chain):
        options.pop("ES")
    settings = dict(lower_steps=STEPS, lower_optimizer=boat.sgd(RATE), upper_optimizer=boat.sgd(0.1))
    return boat.Solver(problem, approximate=chain, options=options, **(settings | more))


def projected(gradient, samples=5, k=0):
    """mean of u_i ⟨u_i, gradient⟩ in the directions of outer step k."""
    u = np.random.default_rng([0, k]).standard_normal((samples, gradient.size))
    return u.T @ (u @ gradient) / samples


CHAINS = {
    "alone": ({}, ["ES"]),
    "GDA": ({"map": ["GDA"]}, ["ES"]),
    "PTT": ({}, ["PTT", "ES"]),
    "IAD": ({}, ["IAD", "ES"]),
}


@pytest.mark.parametrize(("above", "chain"), CHAINS.values(), ids=CHAINS)
def test_on_a_quadratic_it_is_the_exact_hypergradient_in_the_drawn_directions(above, chain):
    case = QuadraticCase(n=3, m=3)
    exact = [name if name != "ES" else "RAD" for name in chain]
    truth = solver(case.problem, exact, **above).hypergradient().upper
    estimating = solver(case.problem, chain, **above)
    assert_close(estimating.hypergradient().upper, projected(flat(truth)), 1e-9)
    estimating.step()
    again, rad = (solver(case.problem, c, **above) for c in (chain, exact))
    again.restore(estimating.state)
    rad.restore(estimating.state)
    assert_close(again.hypergradient().upper, projected(flat(rad.hypergradient().upper), k=1), 1e-9)


@pytest.mark.parametrize("chain", [["ES"], ["IAD", "ES"]], ids="+".join)
def test_many_samples_come_close_to_the_exact_derivative_through_adam(chain):
    problem = network_problem(upper="start" if "IAD" in chain else "weights")
    batches = problem.batches(0, None)
    settings = dict(lower_optimizer=boat.adam(0.05), lower_steps=2)
    h = solver(problem, chain, es={"samples": 400, "sigma": 1e-3}, **settings).hypergradient(*batches)
    exact = [*chain[:-1], "RAD"]
    truth = flat(solver(problem, exact, **settings).hypergradient(*batches).upper)
    said = h.report.operations["ES"]["standard_error"]
    assert np.linalg.norm(flat(h.upper) - truth) / np.linalg.norm(truth) < 2 * said < 0.5


def test_hyperparameters_of_the_lower_steps_that_lie_above_are_moved_too():
    case = QuadraticCase()
    lower, upper = case.problem.lower_objective, case.problem.upper_objective
    problem = boat.Problem(
        lambda x, y, batch: upper(x["x"], y, batch),
        lambda x, y, batch: lower(x["x"], y, batch),
        {"rate": np.array([RATE]), "x": case.x},
        case.y,
    )
    settings = dict(lower_optimizer=lambda x: boat.sgd(x["rate"]))
    truth = flat(solver(problem, "RAD", **settings).hypergradient().upper)
    h = solver(problem, es={"sigma": 1e-4}, **settings).hypergradient()
    assert abs(truth[0]) > 0.1
    assert_close(h.upper, projected(truth), 1e-6)


def test_with_a_learned_start_its_cotangent_is_pulled_back():
    case = QuadraticCase()
    h = solver(case.problem, map=["DI"]).hypergradient()
    decay = np.linalg.matrix_power(np.eye(3) - RATE * case.A, STEPS)
    assert_close(h.start, decay @ case.upper_gradient(case.iterates(STEPS, RATE)[-1]), 1e-12)
    assert_close(h.upper, projected(case.unrolled_hypergradient(STEPS, RATE)), 1e-9)


def test_the_learned_start_of_another_pack_is_counted():
    """Whatever it is called: ES takes one more gradient, and the start pulls it back."""
    learn = boat.Operation(
        name="LEARN",
        stage="map",
        role="modifier",
        summary="s",
        formula="f",
        source="t",
        start="learned",
        start_optimizer=lambda options: boat.sgd(0.1),
        cost=lambda options, work: boat.Cost() if "pullback" in work.labels else work.pullback,
    )
    registry = boat.installed().adding(learn, distribution="another-pack", version="1.0")
    options = {"ES": {"samples": 2}}
    composition = boat.compose(registry, map=["LEARN"], approximate="ES", options=options)
    plain = boat.compose(registry, approximate="ES", options=options)
    pullback = boat.Cost(gradients=STEPS, hvps=STEPS)
    assert composition.cost(STEPS) == plain.cost(STEPS) + pullback + boat.Cost(gradients=1)
    taken, declared = check_solver(composition, registry, options)
    assert taken == declared + declared


@pytest.mark.parametrize(
    ("method", "rolls", "evaluations"), [("antithetic", 10, 10), ("forward", 5, 5), ("naive", 5, 5), ("baseline", 5, 5)]
)
def test_it_takes_gradients_of_the_lower_steps_alone(method, rolls, evaluations):
    solving = solver(QuadraticCase().problem, es={"method": method})
    with counting() as counted:
        h = solving.hypergradient()
    assert (counted.gradients, counted.hvps) == ((1 + rolls) * STEPS, 0)
    assert h.report.operations["ES"]["evaluations"] == evaluations


def test_nothing_of_the_other_trajectories_is_kept():
    problem, living = network_problem(), []

    def upper(x, y, batch):
        living.append(jt.liveness_info()["lived_vars"])
        return problem.upper_objective(x, y, batch)

    watched = boat.Problem(upper, problem.lower_objective, problem.upper, problem.lower)
    solver(watched, lower_steps=12, segment=1).hypergradient(*problem.batches(0, None))
    values = living[-10:]
    assert max(values[2:]) <= values[1]


def test_the_lower_trajectory_is_not_bothered_by_second_derivatives():
    """|y|^1.5 has none at 0."""
    problem = boat.Problem(
        upper_objective=lambda x, y, batch: ((y - 1) * (y - 1)).sum(),
        lower_objective=lambda x, y, batch: (jt.abs(y - y.detach()) ** 1.5).sum() - (x * y).sum(),
        upper=np.ones(2),
        lower=np.zeros(2),
    )
    truth = 2 * (STEPS * RATE) * (STEPS * RATE * np.ones(2) - 1)
    assert_close(solver(problem).hypergradient().upper, projected(truth), 1e-9)


def test_noise_is_reported_and_beyond_the_tolerance_an_error_under_strict():
    case = QuadraticCase(n=60, m=3)
    h = solver(case.problem).hypergradient()
    assert json.dumps(h.report.as_dict(), allow_nan=False)
    assert h.report.concerns[0].startswith("ES: the noise of the estimate ")
    with pytest.raises(boat.DoubtfulError, match=r"ES: the noise of the estimate .*: more than 5 samples help"):
        solver(case.problem, strict=True).hypergradient()
    with pytest.raises(boat.DoubtfulError, match="ES: one sample does not say how far off it is"):
        solver(case.problem, strict=True, es={"samples": 1}).hypergradient()
    solver(case.problem, strict=True, es={"tolerance": None}).hypergradient()
    few = solver(QuadraticCase().problem, strict=True, es={"samples": 200}).hypergradient()
    assert few.report.operations["ES"]["standard_error"] == pytest.approx((5 / 200) ** 0.5, rel=0.3)


def test_a_value_that_is_not_finite_is_named():
    problem = boat.Problem(
        upper_objective=lambda x, y, batch: (x + y * 0.0).log().sum(),
        lower_objective=lambda x, y, batch: (y * y).sum(),
        upper=np.full(2, 0.1),
        lower=np.zeros(2),
    )
    with pytest.raises(boat.NonFiniteError, match=r"stage approximate \(ES\): F\(x, y_T\(x\)\), sample 0 of 5, x . σu"):
        solver(problem, es={"sigma": 1.0}).hypergradient()


def test_baselines_need_two_samples():
    with pytest.raises(boat.OptionError, match="options.ES.samples: expected at least 2 with method 'baseline'"):
        solver(QuadraticCase().problem, es={"samples": 1, "method": "baseline"})


def test_a_function_of_values_alone_can_be_the_upper_objective():
    """`es_grad` in F, differentiated once by RAD; below, where RAD differentiates twice, it is refused by name."""
    case = QuadraticCase()
    upper, lower = case.problem.upper_objective, case.problem.lower_objective

    def values(x, y):
        return float(upper(x, y, None).numpy()[0])

    smooth = boat.es_grad(samples=300, argnums=(0, 1))(values)
    above = boat.Problem(lambda x, y, batch: smooth(x, y), lower, case.x, case.y)
    h = flat(solver(above, "RAD").hypergradient().upper)
    truth = case.unrolled_hypergradient(STEPS, RATE)
    assert np.linalg.norm(h - truth) < 4 * smooth.report["standard_error"] * np.linalg.norm(truth)

    below = boat.Problem(upper, lambda x, y, batch: smooth(x, y), case.x, case.y)
    with pytest.raises(boat.SecondOrderError, match=r"values: Jittor does not differentiate its gradient"):
        solver(below, "RAD").hypergradient()
