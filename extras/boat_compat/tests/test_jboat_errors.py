"""A script with an error of the user's gets one clear error that names the file and the key."""

from __future__ import annotations

import jboat_quadratic
import pytest
from jboat_material import L2, Parameter, loss_config, problem
from jboat_quadratic import CASE

import boat_compat.jboat as jboat
from boat_core import ConfigError

LOSSES = loss_config("jboat_quadratic")


@pytest.fixture
def config():
    return dict(problem(L2, LOSSES, Parameter(CASE.x), Parameter(CASE.y)).boat_configs)


def build(config, losses=LOSSES):
    return jboat.Problem(config, losses).build_ll_solver().build_ul_solver()


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("lower_iters", "lower_iters: missing"),
        ("return_grad", "return_grad: missing: expected true or false"),
        ("accumulate_grad", "accumulate_grad: missing"),
        ("copy_last_param", "copy_last_param: missing"),
        ("gm_op", "gm_op: expected a list of operations"),
        ("na_op", "na_op: expected a list of operations"),
        ("lower_level_model", "lower_level_model: missing: expected a Jittor module"),
        ("upper_level_var", "upper_level_var: missing"),
        ("lower_level_opt", "lower_level_opt: missing"),
        ("upper_level_opt", "upper_level_opt: missing"),
    ],
)
def test_missing_keys(config, key, message):
    del config[key]
    with pytest.raises(ConfigError, match=f"^boat_config: {message}"):
        build(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"na_op": ["CGG"]}, "na_op: no operation 'CGG'.*'CG'"),
        ({"gm_op": ["NGD", "CG"]}, "gm_op: CG is an operation of stage approximate"),
        ({"na_op": ["CG", "RAD"]}, "na_op: one estimator at most"),
        ({"na_op": ["RAD", "RAD"]}, "na_op: an operation is listed twice"),
        ({"na_op": ["FOA", "RAD"]}, "na_op: FOA needs IAD"),
        ({"fo_op": ["VSO", "VFO"]}, "fo_op: expected one operation"),
        ({"lower_iters": 0}, "lower_iters: expected an integer >= 1"),
        ({"lower_iters": "5"}, "lower_iters: expected a number"),
        ({"return_grad": "no"}, "return_grad: expected true or false"),
        ({"na_op": ["CG"], "CG": {"k": 2}}, "CG.tolerance: missing"),
        ({"na_op": ["CG"], "CG": {"K": 2, "tolerance": 1e-9}}, "CG.k: missing"),
        ({"na_op": ["CG"], "CG": {"k": 0, "tolerance": 1e-9}}, "CG.k: expected an integer >= 1"),
        ({"na_op": ["NS"], "CG": {"k": -1, "tolerance": 1e-9}}, "CG.k: expected an integer >= 1"),
        ({"na_op": ["RGT", "RAD"]}, "RGT.truncate_iter: expected an integer >= 1"),
        (
            {"na_op": ["RGT", "RAD"], "RGT": {"truncate_iter": 5}},
            "RGT.truncate_iter: expected fewer than the lower_iters",
        ),
        ({"gm_op": ["GDA", "NGD"], "GDA": {"alpha_init": 1.5, "alpha_decay": 0.9}}, "GDA.alpha_init: expected"),
        ({"gm_op": ["GDA", "NGD"], "GDA": {"alpha_init": 0.5}}, "GDA.alpha_decay: missing"),
        ({"fo_op": "VFO", "VFO": {"u1": 0.1}}, "VFO.y_hat_lr: missing"),
        ({"na_op": ["ES"], "ES": {"smples": 2}}, "ES.smples: .*'samples'"),
        ({"lower_level_var": []}, "lower_level_var: expected at least one trainable array"),
        ({"lower_level_var": [1.0]}, "lower_level_var.0: expected a jittor array"),
        ({"lower_level_opt": "sgd"}, "lower_level_opt: expected a Jittor optimizer"),
        ({"boat": {"lower_steps": 3}}, "boat: expected settings"),
        ({"boat": {"stric": True}}, "boat.*stric.*strict"),
    ],
)
def test_wrong_values(config, changes, message):
    with pytest.raises(ConfigError, match=f"^boat_config: {message}"):
        build({**config, **changes})


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"function": "no_such_module.loss"}, "lower_level_loss.function: there is no module 'no_such_module'"),
        ({"function": "jboat_quadratic.lowr"}, "lower_level_loss.function: .*no function 'lowr'.*'lower'"),
        ({"function": "lower"}, 'lower_level_loss.function: expected a name such as "package.module.function"'),
        ({}, "lower_level_loss.function: missing"),
        ({"function": "jboat_quadratic.lower", "params": 3}, "lower_level_loss.params: expected a mapping"),
    ],
)
def test_loss_functions(config, entry, message):
    with pytest.raises(ConfigError, match=f"^loss_config: {message}"):
        build(config, {**LOSSES, "lower_level_loss": entry})


def test_gda_needs_its_loss(config):
    config["gm_op"] = ["GDA", "NGD"]
    losses = {key: value for key, value in LOSSES.items() if key != "gda_loss"}
    with pytest.raises(ConfigError, match="^loss_config: gda_loss: missing"):
        build(config, losses)


@pytest.mark.parametrize(
    ("feeds", "changes", "message"),
    [
        (([{}], {}), {}, "accumulate_grad: expected ll_feed_dict to be a dictionary .*set accumulate_grad to true"),
        (({}, {}), {"accumulate_grad": True}, "accumulate_grad: expected ll_feed_dict to be a list"),
        (([{}], [{}, {}]), {"accumulate_grad": True}, "accumulate_grad: expected as many lower feeds"),
        (({}, None), {}, "accumulate_grad: expected ul_feed_dict to be a dictionary"),
    ],
)
def test_feeds(config, feeds, changes, message):
    with pytest.raises(ConfigError, match=f"^boat_config: {message}"):
        build({**config, **changes}).run_iter(*feeds, current_iter=0)


def test_an_optimizer_that_does_not_move_a_variable(config):
    import jittor

    for level in ("lower", "upper"):
        other = jittor.nn.SGD([jittor.zeros(2)], lr=0.1)
        with pytest.raises(ConfigError, match=f"^boat_config: {level}_level_opt: expected an optimizer of all arrays"):
            build({**config, f"{level}_level_opt": other})


def test_iad_needs_arrays_of_one_shape():
    import numpy

    other = Parameter(numpy.zeros(3))
    with pytest.raises(
        ConfigError, match="^boat_config: lower_level_var: expected arrays like .*float64 .3. for float64 .2."
    ):
        problem(L2, LOSSES, Parameter(CASE.x), other, ("NGD", "IAD"))


def test_no_dictionary():
    with pytest.raises(ConfigError, match="^boat_config: expected the dictionary that json.load returned"):
        jboat.Problem("boat_config.json", LOSSES)


def reads_target(feed, upper_model, lower_model, **kwargs):
    return (lower_model() * feed["target"]).sum()


def returns_a_vector(feed, upper_model, lower_model, **kwargs):
    return lower_model()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("reads_target", "jboat_quadratic.reads_target raised KeyError: 'target'; a feed holds 'data'"),
        ("returns_a_vector", "expected jboat_quadratic.returns_a_vector to return .* one number .*shape .2."),
    ],
)
def test_errors_in_a_loss(config, monkeypatch, function, message):
    monkeypatch.setattr(jboat_quadratic, function, globals()[function], raising=False)
    losses = loss_config("jboat_quadratic", lower=function)
    built = build(config, losses)
    with pytest.raises(ConfigError, match=f"^loss_config: lower_level_loss.function: {message}"):
        built.run_iter({"data": 1}, {}, current_iter=0)
