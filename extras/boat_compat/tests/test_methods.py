"""BOML's names and settings: each method is the chain and the numbers that its paper defines."""

from __future__ import annotations

import numpy as np
import pytest

import boat_core as boat
from boat_compat import boml
from boat_core.testing import QuadraticCase, assert_close

pytestmark = pytest.mark.usefixtures("single_operators")
T, RATE = 4, 0.1
CHAINS = {
    "RHG": "NGD | RAD",
    "T-RHG": "NGD | RGT + RAD",
    "HOAG": "NGD | CG",
    "DARTS": "NGD | FD",
    "BDA": "GDA + NGD | RAD",
    "MAML": "NGD | IAD + RAD",
    "FOMAML": "NGD | IAD + FOA + RAD",
    "Meta-SGD": "NGD | RAD",
    "MT-net": "NGD | RAD",
    "WarpGrad": "NGD | WARP",
}


def hypergradient(case, name, **settings):
    return boat.Solver(case.problem, **boml.method(name, learning_rate=RATE, T=T, **settings)).hypergradient().upper


def test_every_method_is_a_valid_solver():
    assert boml.METHODS.keys() == CHAINS.keys()
    for name, chain in CHAINS.items():
        settings = boml.method(name)
        keys = {key: settings[key] for key in ("map", "approximate", "options")}
        assert str(boat.compose(**keys)) == chain


def start(case):
    g = case.upper_gradient(case.iterates(T, RATE, case.x)[-1])
    return case.unrolled_hypergradient(T, RATE, start=case.x), g, np.eye(len(g)) - RATE * case.A


CLOSED_FORMS = {
    "RHG": ({}, lambda case: case.unrolled_hypergradient(T, RATE)),
    "T-RHG": ({"truncate_iter": 3}, lambda case: case.unrolled_hypergradient(T, RATE, last=3)),
    "HOAG": ({"tolerance": 1e-12}, lambda case: case.implicit_hypergradient(case.iterates(T, RATE)[-1])),
    "DARTS": (
        {},
        lambda case: case.rho * case.x + RATE * case.B.T @ case.upper_gradient(case.iterates(T, RATE)[-1]),
    ),
    "MAML": ({}, lambda case: start(case)[0] + np.linalg.matrix_power(start(case)[2], T) @ start(case)[1]),
    "FOMAML": ({}, lambda case: case.rho * case.x + start(case)[1]),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_hypergradients_are_those_of_the_papers(name):
    case = QuadraticCase(seed=3, n=3 if name.endswith("MAML") else 4, m=3)
    settings, truth = CLOSED_FORMS[name]
    assert_close(hypergradient(case, name, **settings), truth(case), 1e-9)


def test_bda_weighs_both_gradients_by_alpha_over_t_and_its_scales():
    """d_t = (α/t) s ∇F + (1 - α/t) t_c ∇f at step t = 1, 2, …"""
    case, alpha, s, c = QuadraticCase(), 0.6, 0.5, 1.5
    weights, y = [(alpha / t * s, (1 - alpha / t) * c) for t in range(1, T + 1)], case.y
    for of_upper, of_lower in weights:
        y = y - RATE * (of_upper * case.upper_gradient(y) + of_lower * case.lower_gradient(y))
    p, total = case.upper_gradient(y), case.rho * case.x
    for of_upper, of_lower in reversed(weights):
        total = total + RATE * of_lower * case.B.T @ p
        p = p - RATE * (of_upper * p + of_lower * case.A @ p)
    assert_close(hypergradient(case, "BDA", alpha_init=alpha, s=s, t=c), total, 1e-9)


def test_strategies_and_flags_of_boml_name_the_methods():
    def chain(*names, **settings):
        chosen = boml.method(*names, **settings)
        return str(boat.compose(map=chosen["map"], approximate=chosen["approximate"], options=chosen["options"]))

    assert chain("MetaInit", inner_method="Simple", outer_method="Simple") == CHAINS["MAML"]
    assert chain("MetaInit", first_order=True) == CHAINS["FOMAML"]
    assert chain("MetaInit", use_warp=True, use_t=False) == CHAINS["WarpGrad"]
    assert chain("MetaFeat") == CHAINS["RHG"]
    assert chain("MetaFeat", truncate_iter=2) == CHAINS["T-RHG"]
    assert chain("MetaFeat", outer_method="Implicit") == CHAINS["HOAG"]
    assert chain("MetaFeat", inner_method="Aggr") == CHAINS["BDA"]


def test_optimizers_are_those_that_the_settings_name():
    chosen = boml.method("MAML", inner_objective_optimizer="Momentum", momentum=0.8, segment="all", T=3)
    assert (chosen["lower_optimizer"].options.momentum, chosen["segment"], chosen["lower_steps"]) == (0.8, "all", 3)
    assert (chosen["upper_optimizer"].name, chosen["upper_optimizer"].rate) == ("adam", 0.001)
    clipped = boml.method("MAML", outer_objective_optimizer="SGD", meta_learning_rate=0.5, gradient_clip=1.0)
    y, g = {"a": np.zeros(2)}, {"a": boml.as_jittor(np.array([3.0, 4.0]))}
    stepper = clipped["upper_optimizer"]
    updates, _ = stepper.update(g, stepper.init(boml.as_jittor(y)), boml.as_jittor(y))
    assert_close(updates["a"], [-0.3, -0.4])
    decaying = boml.method("MAML", outer_objective_optimizer="SGD", meta_learning_rate=0.5, mlr_decay=1.0)
    stepper = decaying["upper_optimizer"]
    state, moves = stepper.init(g), []
    for _ in range(2):
        updates, state = stepper.update(g, state, g)
        moves.append(updates["a"].numpy())
    assert_close(moves, [[-1.5, -2.0], [-0.75, -1.0]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: boml.method("MAMLL"), "did you mean 'MAML'"),
        (lambda: boml.method("MAML", learning_rat=0.1), "method.learning_rat: MAML has no such setting; did you mean"),
        (lambda: boml.method("MAML", truncate_iter=3), "truncate_iter: MAML has no such setting; T-RHG has it"),
        (lambda: boml.method("Meta-SGD", learning_rate=0.1), "its rates are in x: boml.meta_sgd_learner"),
        (lambda: boml.method("BDA", learn_alpha=True), "alpha is a number here"),
        (lambda: boml.method("MAML", T=2, lower_steps=2), "the same number: leave one out"),
        (lambda: boml.method("MT-net", inner_objective_optimizer="Adam"), "expected SGD with MT-net"),
        (lambda: boml.method("MAML", outer_objective_optimizer="adam"), "expected one of SGD, Momentum, Adam"),
        (
            lambda: boml.method("MetaInit", outer_method="Darts"),
            r"Simple with Simple \(got Simple with Darts\)",
        ),
        (lambda: boml.method("MetaFeat", use_t=True), "expected one of them at most, beside MetaInit"),
        (lambda: boml.method("RHG", outer_method="Reverse"), "is a whole method: leave out"),
    ],
)
def test_wrong_settings_are_refused_with_the_nearest(call, message):
    with pytest.raises(boat.OptionError, match=message):
        call()
