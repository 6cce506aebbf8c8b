"""A fused step is found by the rule of the lower optimizer, never by its name."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

import boat_core as boat
from boat_core.testing import QuadraticCase, assert_close, central_differences, upper_value


@dataclass(frozen=True)
class Options:
    """The same names as the options of boat.adam, so that its kernel could read them."""

    rate: float = boat.option(gt=0, doc="step size")
    beta1: float = boat.option(0.9, ge=0, lt=1, doc="")
    beta2: float = boat.option(0.999, ge=0, lt=1, doc="")
    epsilon: float = boat.option(1e-8, gt=0, doc="")


#: A third party's optimizer that has the name of ours, and whose rule is plain descent.
namesake = boat.UpdateRule(
    "adam", "plain descent", "none", Options, lambda o: (), lambda o, t, g, y, s: (-o.rate * g, {})
)


def iterate(optimizer, kernels):
    """y_T of f = ½(y - x)² from y = 0 at x = 1."""
    problem = boat.Problem(
        lambda x, y, batch: (y * y).sum(),
        lambda x, y, batch: ((y - x) * (y - x)).sum() / 2,
        np.ones(1, "float32"),
        np.zeros(1, "float32"),
    )
    solver = boat.Solver(
        problem, lower_steps=5, lower_optimizer=optimizer, upper_optimizer=boat.sgd(0.1), kernels=kernels
    )
    solver.step()
    return float(solver.lower.numpy()[0])


@pytest.mark.parametrize("kernels", ["auto", "plain"])
def test_optimizer_with_the_name_of_ours_steps_by_its_own_rule(kernels):
    rate = 0.0448
    assert iterate(namesake(rate), kernels) == pytest.approx(1 - (1 - rate) ** 5, abs=1e-6)


@pytest.mark.parametrize("kernels", ["auto", "plain"])
def test_optimizer_with_another_update_loses_the_kernels(kernels):
    """`dataclasses.replace` keeps the name and the options, by which a kernel might be found."""

    def update(g, state, y):
        return -0.0448 * g, state

    ours = boat.adam(0.1)
    still = replace(ours, init=lambda y: {}, update=update)
    assert iterate(still, kernels) == pytest.approx(1 - (1 - 0.0448) ** 5, abs=1e-6)


@pytest.mark.parametrize("rule", [boat.sgd, boat.adam])
def test_our_own_steps_have_kernels(rule):
    """The pack declares fused steps by rule: they are there, and give the numbers of the plain operators."""
    case = QuadraticCase()
    found = {}
    for kernels in ("auto", "plain"):
        solver = boat.Solver(
            case.problem, lower_steps=4, lower_optimizer=rule(0.1), upper_optimizer=boat.sgd(0.1), kernels=kernels
        )
        found[kernels] = solver.hypergradient().upper
    assert rule in solver.composition.map[-1].operation.optimizer_steps
    assert_close(found["auto"], found["plain"], 1e-12)


def test_amsgrad_is_stepped_without_the_kernels_of_adam():
    """The kernels do not hold the largest second moment: with them the numbers would be those of Adam."""
    case, rate, beta1, beta2 = QuadraticCase(), 0.5, 0.9, 0.1
    y, m, v, largest = case.y, *np.zeros((3, case.y.size))
    for t in range(1, 7):
        g = case.lower_gradient(y)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        largest = np.maximum(largest, v)
        y = y - rate * m / (1 - beta1**t) / (np.sqrt(largest / (1 - beta2**t)) + 1e-8)
    optimizer = boat.adam(rate, beta1, beta2, amsgrad=True)
    settings = {"lower_steps": 6, "lower_optimizer": optimizer, "upper_optimizer": boat.sgd(0.1)}
    for kernels in ("auto", "plain"):
        solver = boat.Solver(case.problem, kernels=kernels, **settings)
        truth = central_differences(lambda x: upper_value(case.problem, x, **settings), case.problem.upper)
        assert_close(solver.hypergradient().upper, truth, 1e-7)
        solver.step()
        assert_close(solver.lower, y, 1e-12)
    assert np.abs(largest - v).max() > 1  # Adam's numbers are others


def test_steps_by_other_keys_are_refused():
    ngd = boat.Solver(
        QuadraticCase().problem, lower_steps=1, lower_optimizer=boat.sgd(0.1), upper_optimizer=boat.sgd(0.1)
    ).composition.map[-1]
    (step, *_) = ngd.operation.optimizer_steps.values()
    with pytest.raises(boat.DeclarationError, match="optimizer_steps: expected rules such as boat_core.sgd"):
        replace(ngd.operation, optimizer_steps={3: step})
