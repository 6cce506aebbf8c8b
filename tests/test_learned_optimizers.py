"""Lower optimizers whose hyperparameters are upper variables: in scripts, in configurations, and when refused."""

from __future__ import annotations

import json

import jittor as jt
import numpy as np
import pytest

import boat_core as boat
from boat_core.cli import main
from boat_core.testing import assert_close, central_differences, flat

pytestmark = pytest.mark.usefixtures("single_operators")

START = {"h": np.array([0.3, 0.4]), "o": {"rate": np.array([-2.0]), "momentum": np.array([0.3])}}
LOWER = np.array([2.0, -1.0])


def upper_objective(x, y, batch):
    return ((y - 1) ** 2).sum() * 0.5 + 0.1 * (x["h"] ** 2).sum()


def lower_objective(x, y, batch):
    return (y**4).sum() * 0.25 + (y * y).sum() - (x["h"] * y).sum()


def problem(x=START, seed=0):
    return boat.Problem(upper_objective, lower_objective, x, LOWER)


def sgd(x):
    return boat.sgd(jt.exp(x["o"]["rate"]), momentum=jt.sigmoid(x["o"]["momentum"]), nesterov=True)


def clipped(x):
    rate = boat.cosine_schedule(jt.exp(x["o"]["rate"]), 10)
    return boat.chain(boat.clip_by_norm(2.0), boat.sgd(rate, momentum=jt.sigmoid(x["o"]["momentum"])))


OPTIMIZERS = {
    "sgd": sgd,
    "clipped": clipped,
    "adam": lambda x: boat.adam(jt.exp(x["o"]["rate"]), beta1=jt.sigmoid(x["o"]["momentum"])),
    "rprop": lambda x: boat.rprop(jt.exp(x["o"]["rate"]), shrink=jt.sigmoid(x["o"]["momentum"])),
}


@pytest.mark.parametrize("chains", [{}, {"map": ["GDA"]}, {"approximate": ["PTT"]}], ids=str)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_hypergradient_is_that_of_the_lower_end(name, chains):
    settings = dict(lower_steps=5, lower_optimizer=OPTIMIZERS[name], upper_optimizer=boat.sgd(0.1), start="cold")

    def value(x):
        x = {"h": x["h"].numpy(), "o": {key: leaf.numpy() for key, leaf in x["o"].items()}}
        solver = boat.Solver(problem(x), **chains, **settings)
        if "approximate" in chains:  # the step that PTT chose
            settings["lower_steps"] = solver.hypergradient().report.operations["PTT"]["steps"]
            solver = boat.Solver(problem(x), **settings)
            settings["lower_steps"] = 5
        return solver.step().upper_loss

    found = boat.Solver(problem(), **chains, **settings).hypergradient().upper
    assert_close(flat(found), flat(central_differences(value, START)), 1e-6)


def test_the_first_step_of_a_run_learns_a_better_rate():
    """If x is the rate alone, a step along the hypergradient lowers F(x, y_T(x))."""
    settings = dict(lower_steps=5, lower_optimizer=sgd, upper_optimizer=boat.sgd(0.05), start="cold")
    solver = boat.Solver(problem(), **settings)
    losses = [solver.step().upper_loss for _ in range(8)]
    assert losses == sorted(losses, reverse=True)
    assert solver.upper["o"]["rate"].numpy()[0] != START["o"]["rate"][0]


def test_first_order_pullbacks_still_see_the_hyperparameters():
    """FOA takes ∇²f as zero. The derivative of a step in its hyperparameters is not a second derivative."""
    x = {"h": LOWER, "rate": np.array([0.1])}
    lower = {"h": LOWER, "rate": np.array([0.1])}
    bilevel = boat.Problem(
        lambda x, y, batch: ((y["h"] - 1) ** 2).sum() * 0.5,
        lambda x, y, batch: (y["h"] ** 2).sum() + 0 * y["rate"].sum(),
        x,
        lower,
    )
    settings = dict(lower_steps=1, lower_optimizer=lambda x: boat.sgd(x["rate"]), upper_optimizer=boat.sgd(0.1))
    found = boat.Solver(bilevel, approximate=["IAD", "FOA"], **settings).hypergradient().upper
    y = LOWER - 0.1 * 2 * LOWER
    assert_close(found["h"], y - 1, 1e-12)
    assert_close(found["rate"], [-(y - 1) @ (2 * LOWER)], 1e-12)


def test_resuming_keeps_the_learned_hyperparameters():
    settings = dict(lower_steps=3, lower_optimizer=OPTIMIZERS["adam"], upper_optimizer=boat.adam(0.1))
    solver, other = boat.Solver(problem(), **settings), boat.Solver(problem(), **settings)
    solver.step()
    other.restore(solver.state)
    assert solver.step().upper_loss == other.step().upper_loss
    assert_close(flat(solver.upper), flat(other.upper), 0)


@pytest.mark.parametrize(
    ("chains", "reason"),
    [
        ({"approximate": ["CG"]}, "CG reads the end point, so they would never move; an estimator that pulls back"),
        ({"first_order": "VFO"}, "VFO takes no derivative of the steps"),
        ({"map": ["DM"]}, "DM .* takes no derivative of the steps"),
    ],
)
def test_hyperparameters_without_derivative_are_refused(chains, reason):
    steps = 1 if "map" in chains else 3
    with pytest.raises(boat.CompositionError, match=reason):
        boat.Solver(problem(), **chains, lower_steps=steps, lower_optimizer=sgd, upper_optimizer=boat.sgd(0.1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: boat.sgd(x["o"]["rate"]), "at the current x: sgd.rate: expected a number > 0 .*got -2.0"),
        (lambda x: boat.sgd(x["rate"]), "its function raised KeyError"),
        (lambda x: 0.1, "expected a function of x that returns an Optimizer .*got 0.1"),
        (0.1, "expected an Optimizer such as boat.sgd"),
    ],
)
def test_functions_that_return_no_optimizer_are_refused(make, message):
    with pytest.raises(boat.OptionError, match=f"lower_optimizer: .*{message}|lower_optimizer: {message}"):
        boat.Solver(problem(), lower_steps=3, lower_optimizer=make, upper_optimizer=boat.sgd(0.1))


def test_rate_out_of_range_is_an_error_in_that_step():
    towards_zero = boat.Problem(lambda x, y, batch: x.sum(), lambda x, y, batch: (y * y).sum(), np.array([0.1]), LOWER)
    solver = boat.Solver(towards_zero, lower_steps=3, lower_optimizer=boat.sgd, upper_optimizer=boat.sgd(0.2))
    solver.step()
    with pytest.raises(boat.OptionError, match="at the current x: sgd.rate: expected a number > 0"):
        solver.step()


CONFIG = {
    "problem": "test_learned_optimizers:problem",
    "solver": {
        "lower_steps": 4,
        "lower_optimizer": [
            {"name": "clip_by_norm", "norm": 2.0},
            {
                "name": "sgd",
                "rate": {"upper": "o.rate", "through": "exp"},
                "momentum": {"schedule": "warmup", "steps": 2, "then": {"schedule": "constant", "value": 0.5}},
            },
        ],
        "upper_optimizer": {"name": "adam", "rate": {"schedule": "cosine", "initial": 0.1, "steps": 3}},
    },
    "run": {"steps": 4},
}


def written(folder, change=lambda config: None):
    config = json.loads(json.dumps(CONFIG))
    config["problem_path"] = __file__.rpartition("/")[0]
    config["run"]["out"] = str(folder / "run")
    change(config)
    path = folder / "config.json"
    path.write_text(json.dumps(config), "utf8")
    return str(path)


def test_configurations_name_chains_schedules_and_upper_variables(tmp_path, capsys):
    path = written(tmp_path)
    assert main(["explain", path, "--json"]) == 0
    parts = json.loads(capsys.readouterr().out)["lower_optimizer"]["parts"]
    assert [part["name"] for part in parts] == ["clip_by_norm", "sgd"]
    assert parts[1]["rate"] == {"upper": "o.rate", "through": "exp"}
    assert main(["run", path, "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["upper_loss"]

    def lower(x):
        rate, momentum = jt.exp(x["o"]["rate"]), boat.warmup_schedule(2, boat.constant_schedule(0.5))
        return boat.chain(boat.clip_by_norm(2.0), boat.sgd(rate, momentum))

    upper = boat.adam(boat.cosine_schedule(0.1, 3))
    solver = boat.Solver(problem(), lower_steps=4, lower_optimizer=lower, upper_optimizer=upper)
    assert found == [solver.step().upper_loss for _ in range(4)][-1]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("rate", {"schedule": "cosin", "initial": 0.1, "steps": 3}, "no schedule 'cosin'; did you mean 'cosine'?"),
        ("rate", {"schedule": "cosine", "initial": 0.1}, "option 'steps' is required"),
        ("rate", {"upper": "o.rat"}, "no entry 'rat' in o; did you mean 'rate'?"),
        ("rate", {"upper": "o.rate"}, "rate: expected a number > 0"),
        ("rate", {"upper": 3}, "upper: expected an entry of the upper variables, such as log_rate (got 3)"),
        ("rate", {"upper": "o.rate", "through": "expp"}, "through: expected one of identity, exp, sigmoid, softplus"),
        ("rate", {"upper": "o.rate", "thru": "exp"}, "unknown option; did you mean 'through'?"),
        ("rate", {"min": 0.1}, "rate: expected a number > 0, floating-point arrays"),
        ("momentum", 1.0, "momentum: expected a number >= 0 and < 1"),
    ],
)
def test_each_wrong_hyperparameter_gets_one_error_with_its_place(tmp_path, capsys, key, value, message):
    path = written(tmp_path, lambda config: config["solver"]["lower_optimizer"][1].update({key: value}))
    assert main(["run", path]) == 2
    said = capsys.readouterr().err.strip()
    assert message in said and "config.json:" in said and "lower_optimizer" in said
    assert said.count("boat: error") == 1 and not (tmp_path / "run").exists()


def test_upper_variables_are_no_hyperparameters_of_the_upper_optimizer(tmp_path, capsys):
    path = written(
        tmp_path, lambda config: config["solver"].update(upper_optimizer={"name": "sgd", "rate": {"upper": "h"}})
    )
    assert main(["explain", path]) == 2
    assert "of the lower optimizer only" in capsys.readouterr().err


def test_explain_refuses_the_same_configurations_as_a_run(tmp_path, capsys):
    path = written(tmp_path, lambda config: config["solver"].update(approximate="CG"))
    assert main(["explain", path]) == 2
    assert "lower_optimizer: as a function of x" in capsys.readouterr().err


@pytest.mark.parametrize("optimizer", [boat.lion(0.1), boat.chain(boat.clip_by_norm(1.0), boat.rprop(0.1))])
def test_optimizers_that_lose_the_derivative_report_it(optimizer):
    settings = dict(lower_steps=3, lower_optimizer=optimizer, upper_optimizer=boat.sgd(0.1))
    (concern,) = boat.Solver(problem(), **settings).hypergradient().report.concerns
    assert "steps by signs of gradients" in concern
    assert boat.Solver(problem(), approximate=["CG"], **settings).hypergradient().report.concerns == ()
    with pytest.raises(boat.DoubtfulError, match="signs of gradients"):
        boat.Solver(problem(), strict=True, **settings).step()
