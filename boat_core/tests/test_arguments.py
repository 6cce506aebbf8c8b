"""Objectives that change what they are given are refused, and results that are not finite are reported."""

from __future__ import annotations

from dataclasses import replace

import jittor as jt
import numpy as np
import optree
import pytest

import boat_core as boat
from boat_core.bilevel.gradcheck import check_problem

pytestmark = pytest.mark.usefixtures("single_operators")


def doubled(y):
    y += y
    return y


def set_entry(y):
    y[0] = 1.0
    return y


CHANGES = {
    "stop_grad": lambda y: y * y.stop_grad(),
    "assign": lambda y: y.assign(y * 2),
    "+=": doubled,
    "index": set_entry,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("place", ["upper", "lower"])
def test_an_objective_that_changes_its_argument_is_refused(change, place):
    def f(x, y, batch):
        changed = CHANGES[change](x if place == "upper" else y)
        return (changed * changed).sum() + ((y - x) ** 2).sum()

    def F(x, y, batch):
        return sum((leaf * leaf).sum() for leaf in optree.tree_leaves((x, y)))

    message = f"lower_objective: it changes {place} in place.*must not change what it is given"
    for problem in (boat.Problem(F, f, np.ones(2), np.ones(2)), boat.Problem(F, f, {"a": np.ones(2)}, [np.ones(2)])):
        if isinstance(problem.upper, dict):
            problem = replace(problem, lower_objective=lambda x, y, b: f(x["a"], y[0], b))
        solver = boat.Solver(
            problem, method="RHG", lower_steps=2, lower_optimizer=boat.sgd(0.1), upper_optimizer=boat.sgd(0.1)
        )
        with pytest.raises(boat.ObjectiveError, match=message):
            solver.step()
        assert optree.tree_leaves(solver.upper)[0].numpy().tolist() == [1, 1]
        with pytest.raises(boat.ObjectiveError, match=message):
            check_problem(problem, None, None)


@pytest.mark.parametrize("change", CHANGES)
def test_a_function_that_changes_its_argument_has_no_gradient(change):
    for derivative in (boat.grad, boat.value_and_grad):
        with pytest.raises(boat.ObjectiveError, match="it changes argument 1 in place"):
            derivative(lambda a, y: (a * CHANGES[change](y)).sum(), 1)(np.ones(2), np.ones(2))


def test_an_objective_may_replace_and_mark_what_it_may():
    """Containers are new in every call, `detach` copies, and a batch may be marked as constant."""

    def f(x, y, batch):
        y["w"] = y["w"] + 1
        batch["t"].stop_grad()
        return ((y["w"] - x * batch["t"]) ** 2).sum() + 0.0 * (y["w"].detach() * y["w"]).sum()

    problem = boat.Problem(lambda x, y, b: (y["w"] ** 2).sum(), f, np.ones(2), {"w": np.zeros(2)})
    solver = boat.Solver(
        problem, method="RHG", lower_steps=1, lower_optimizer=boat.sgd(0.5), upper_optimizer=boat.sgd(0.1)
    )
    # y = x t - 1, and F = ‖y‖²
    hypergradient = solver.hypergradient({"t": np.array([3.0, 2.0])}).upper
    np.testing.assert_allclose(hypergradient.numpy(), [12.0, 4.0], rtol=1e-6)


def test_a_batch_that_an_objective_changes_is_named():
    def f(x, y, batch):
        batch["t"].assign(batch["t"] + 1)
        return ((y - x * batch["t"]) ** 2).sum()

    problem = boat.Problem(lambda x, y, b: (y**2).sum(), f, np.ones(2), np.zeros(2))
    solver = boat.Solver(
        problem, method="RHG", lower_steps=1, lower_optimizer=boat.sgd(0.5), upper_optimizer=boat.sgd(0.1)
    )
    with pytest.raises(boat.ObjectiveError, match="lower_objective: it changes lower_batch in place"):
        solver.step({"t": np.ones(2)})


def test_results_that_are_not_finite_name_the_leaf():
    def root(y):
        return (y["a"] * 0).sum() + jt.sqrt(y["b"]).sum()

    with pytest.raises(boat.NonFiniteError, match=r"gradient of .*root: NaN or infinity in leaf \['b'\]"):
        boat.value_and_grad(root)({"a": np.ones(2), "b": np.zeros(2)})
    with pytest.raises(boat.NonFiniteError, match="NaN or infinity in the array itself"):
        boat.value_and_grad(lambda y: jt.sqrt(y).sum())(np.zeros(2))
    with pytest.raises(boat.NonFiniteError, match="its value is (nan|inf)"):
        boat.value_and_grad(lambda y: (1 / y).sum())(np.zeros(2))
    with pytest.raises(boat.NonFiniteError, match="iterate after step 0, the array itself"):
        boat.unroll(lambda t, z, x: z / x, np.ones(1), np.zeros(1), 2)
    layer = jt.nn.Linear(1, 1)
    before = layer.weight.numpy().tolist()
    with pytest.raises(boat.NonFiniteError, match="NaN or infinity in 'weight' after the step of sgd"):
        boat.ModuleOptimizer(layer, boat.sgd(1e30)).step((layer.weight * 1e30).sum())
    assert layer.weight.numpy().tolist() == before
