"""Each of JBOAT's 72 chains, with its shipped configuration: the numbers are those of BOAT's own solver."""

from __future__ import annotations

import numpy as np
import pytest
from jboat_material import FIRST_ORDER, L2, META, NAS, UNROLLED, Parameter, problem
from jboat_quadratic import CASE
from jboat_truth import ETA, LOSSES, META_LOSSES, RATE, T, left_of, own_solver

import boat_core as boat
from boat_core.testing import assert_close

pytestmark = pytest.mark.usefixtures("single_operators")


def models(meta: bool) -> tuple[Parameter, Parameter]:
    lower = Parameter(CASE.y)
    return (lower if meta else Parameter(CASE.x)), lower


def run_both(built, upper_model, step, iterations=2) -> None:
    """Compare x after every iteration."""
    for k in range(iterations):
        built.run_iter({"side": "lower"}, {"side": "upper"}, current_iter=k)
        assert_close(upper_model.value.numpy(), step(k)[0].numpy())


@pytest.mark.parametrize(("maps", "ends"), UNROLLED[:48] + META, ids=lambda value: value.replace(",", "+"))
def test_hypergradient_and_steps_are_those_of_our_solver(maps, ends, capsys):
    """The first hypergradient, by return_grad, and x after each of two iterations."""
    meta = "IAD" in ends
    losses = META_LOSSES if meta else LOSSES
    upper_model, lower_model = models(meta)
    built = problem(L2, losses, upper_model, lower_model, (maps, ends), (ETA, RATE))
    own = own_solver(*left_of(maps, ends), meta=meta)
    if meta:
        # x is the start: the model must be back at it for the second look.
        built.boat_configs["copy_last_param"] = False
    (gradient,), _ = problem(L2, losses, *models(meta), (maps, ends), (ETA, RATE)).run_iter({}, {}, current_iter=0)
    assert_close(gradient.numpy(), own.hypergradient().upper[0].numpy())

    def step(k):
        own.step()
        return own.upper

    built.boat_configs["return_grad"] = False
    run_both(built, upper_model, step)
    assert capsys.readouterr().out.count("[boat-compat]") == 2


@pytest.mark.parametrize(("maps", "ends"), UNROLLED[48:], ids=lambda value: value.replace(",", "+"))
def test_dm_with_its_schedules(maps, ends):
    """Three iterations, with the strategies that JBOAT's example sets on the object of DM."""
    with_gda = "GDA" in maps
    upper_model, lower_model = models(False)
    built = problem(L2, LOSSES, upper_model, lower_model, (maps, ends), (ETA, RATE), return_grad=False)
    state = None
    for k in range(3):
        strategy = f"s{k % 3 + 1}" if with_gda else "s1"
        built._ll_solver.gradient_instances[-1].strategy = strategy
        built.run_iter({}, {}, current_iter=k)
        dm = {"tau": 0.01, "p": 100, "mu0": 0.9, "schedule": strategy}
        dm["multiplier_rate"] = 0.1 if with_gda else 0.5 * ETA
        chain = left_of(maps, ends)
        rate = ETA if with_gda else RATE * ETA
        own = own_solver(
            *chain,
            rate=rate,
            steps=1,
            options={"DM": dm, **{n: {} for n in ("GDA", "CG") if n in {*chain[0], *chain[1]}}},
        )
        if state is not None:
            own.restore(state)
        own.step()
        state = own.state
        assert_close(upper_model.value.numpy(), own.upper[0].numpy())
        assert_close(lower_model.value.numpy(), own.lower[0].numpy())


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_first_order_methods(name):
    upper_model, lower_model = models(False)
    built = problem(L2, LOSSES, upper_model, lower_model, name, (ETA, RATE), return_grad=False)
    state = None
    for k in range(2):
        built.run_iter({}, {}, current_iter=k)
        weights = {"mu0": 0.2, "theta0": 0.02, "sigma0": 10.0, "slack0": 1.0}
        vso = {"z_steps": 5, "z_rate": 0.01, "decay": 1.0, **{key: value / (k + 1) for key, value in weights.items()}}
        own = own_solver(first_order=name, options={"VSO": vso} if name == "VSO" else {})
        if state is not None:
            own.restore(state)
        own.step()
        state = own.state
        assert_close(upper_model.value.numpy(), own.upper[0].numpy())
        assert_close(lower_model.value.numpy(), own.lower[0].numpy())


def test_closed_forms():
    """RAD, RGT, CG (exact after two iterations in R²), NS and FD on the quadratic, through return_grad."""
    y = CASE.iterates(T, ETA)
    g = CASE.upper_gradient(y[-1])
    decay = np.eye(2) - ETA * CASE.A
    series = sum(np.linalg.matrix_power(decay, k) @ g for k in range(3))
    truths = {
        "RAD": CASE.unrolled_hypergradient(T, ETA),
        "RAD,RGT": CASE.unrolled_hypergradient(T, ETA, last=T - 1),
        "CG": CASE.implicit_hypergradient(y[-1]),
        "NS": CASE.rho * CASE.x + ETA * CASE.B.T @ series,
        "FD": CASE.rho * CASE.x + ETA * CASE.B.T @ g,
    }
    for ends, truth in truths.items():
        built = problem(L2, LOSSES, *models(False), ("NGD", ends), (ETA, RATE))
        for k in range(2):  # return_grad leaves x, and gradients do not add up; y warm starts
            (gradient,), _ = built.run_iter({}, {}, current_iter=k)
            if k == 0:
                assert_close(gradient.numpy(), truth)


def test_maml_is_the_true_derivative():
    """IAD: (I - ηA)^T g; with FOA g alone."""
    g = (y := _meta_end()) - CASE.c
    for ends, truth in {
        "IAD": np.linalg.matrix_power(np.eye(2) - ETA * CASE.A, T) @ g,
        "FOA,IAD": g,
    }.items():
        (gradient,), _ = problem(L2, META_LOSSES, *models(True), ("NGD", ends), (ETA, RATE)).run_iter({}, {}, 0)
        assert_close(gradient.numpy(), truth)
    assert np.linalg.norm(y - CASE.y) > 0.1


def _meta_end() -> np.ndarray:
    y = CASE.y
    for _ in range(T):
        y = y - ETA * (CASE.A @ y - CASE.b)
    return y


@pytest.mark.nightly
@pytest.mark.parametrize(("maps", "ends"), UNROLLED, ids=lambda value: value.replace(",", "+"))
def test_the_shipped_nas_configuration(maps, ends):
    """T is 1 there: RGT has nothing to truncate, which is an error in JBOAT too."""
    upper_model, lower_model = models(False)
    if "RGT" in ends and "DI" not in maps:
        with pytest.raises(boat.ConfigError, match="RGT.truncate_iter"):
            problem(NAS, LOSSES, upper_model, lower_model, (maps, ends))
        return
    built = problem(NAS, LOSSES, upper_model, lower_model, (maps, ends))
    for k in range(2):
        built.run_iter({}, {}, current_iter=k)
    assert np.isfinite(upper_model.value.numpy()).all()
    assert np.linalg.norm(upper_model.value.numpy() - CASE.x) > 0
