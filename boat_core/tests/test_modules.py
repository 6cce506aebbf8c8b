"""Modules as functions of their parameters; a call leaves the module unchanged."""

from __future__ import annotations

import re

import jittor as jt
import numpy as np
import pytest
from jittor import nn

import boat_core as boat

pytestmark = pytest.mark.usefixtures("single_operators")


def net():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))


def test_call_uses_the_parameters_and_leaves_the_module_untouched():
    module, x = net(), jt.array(np.random.default_rng(0).normal(size=(5, 3)).astype("float32"))
    weights = boat.parameters(module)
    assert sorted(weights) == ["0.bias", "0.weight", "1.bias", "1.weight", "3.bias", "3.weight"]
    before = {name: value.numpy().copy() for name, value in module.state_dict().items()}
    identity = [id(p) for p in module.parameters()]

    out = boat.call(module, {name: v * 0 + 2 for name, v in weights.items()}, x)
    assert out.shape == [5, 2]
    gradient = jt.grad(boat.call(module, weights, x).sum(), list(weights.values()))
    assert any(np.abs(g.numpy()).max() > 0 for g in gradient)

    assert {n: v.numpy().tolist() for n, v in module.state_dict().items()} == {n: v.tolist() for n, v in before.items()}
    assert [id(p) for p in module.parameters()] == identity


def test_failing_call_leaves_the_module_untouched():
    module = net()
    identity = [id(p) for p in module.parameters()]
    with pytest.raises(Exception, match=".*"):
        boat.call(module, boat.parameters(module), jt.ones((5, 7)))
    assert [id(p) for p in module.parameters()] == identity


def test_load():
    module = net()
    boat.load(module, {name: value * 0 + 3 for name, value in boat.parameters(module).items()})
    assert set(np.concatenate([p.numpy().ravel() for n, p in module.named_parameters() if "running" not in n])) == {3.0}


@pytest.mark.parametrize("convert", [lambda v: v.numpy().astype("float64"), lambda v: v.numpy().astype(">f8")])
def test_load_keeps_the_dtype_of_the_module(convert):
    """Jittor's `update` would turn the module into a float64 one."""
    module = net()
    before = {name: value.numpy() for name, value in module.named_parameters()}
    expected = re.escape(
        "parameters['0.weight']: expected dtype float32, which the module has (got dtype float64); cast"
    )
    with pytest.raises(boat.StructureError, match=expected):
        boat.load(module, {name: convert(value) for name, value in boat.parameters(module).items()})
    after = dict(module.named_parameters())
    assert all(str(after[name].dtype) == "float32" and (after[name].numpy() == before[name]).all() for name in before)


def test_shared_parameters_appear_once():
    module = net()
    module.again = next(iter(module.layers.values()))
    assert len(boat.parameters(module)) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w | {"0.wait": w["0.weight"]}, "none called '0.wait'; did you mean '0.weight'"),
        (lambda w: {k: v for k, v in w.items() if k != "0.bias"}, "'0.bias' is missing"),
        (lambda w: w | {"0.bias": jt.zeros((9,))}, r"parameters\['0.bias'\]: expected shape \[4\] \(got \[9\]\)"),
    ],
)
def test_invalid_parameters_are_refused(change, message):
    module = net()
    with pytest.raises(boat.StructureError, match=message):
        boat.call(module, change(boat.parameters(module)), jt.ones((5, 3)))


def test_eval_mode_keeps_the_parameters_and_uses_the_statistics():
    module, x = net(), jt.array(np.random.default_rng(0).normal(size=(5, 3)).astype("float32"))
    weights = boat.parameters(module)
    module.eval()  # Jittor marks all arrays as not to be differentiated
    assert list(boat.parameters(module)) == list(weights)
    out = boat.call(module, weights, x)
    assert jt.grad(out.sum(), list(weights.values()))[0].numpy().any()
    np.testing.assert_allclose(out.numpy(), module(x).numpy(), rtol=1e-6)
    boat.load(module.train(), weights)
    assert not np.allclose(boat.call(module, weights, x).numpy(), out.numpy())
