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


class Twice(nn.Module):
    """The same layer in two attributes, as tied weights are often written."""

    def __init__(self):
        self.first = nn.Linear(2, 2)
        self.second = self.first

    def execute(self, x):
        return self.second(jt.tanh(self.first(x)))


def twice_in_sequence():
    layer = nn.Linear(2, 2)
    return nn.Sequential(layer, nn.Tanh(), layer)


def nested():
    """A block that holds a shared layer, itself held in two places."""
    block = nn.Sequential(nn.Linear(2, 2))
    return nn.Sequential(block, nn.Tanh(), nn.Sequential(block))


SHARING = [Twice, twice_in_sequence, nested]


def loss_of(module, weights, points):
    return (boat.call(module, weights, points) ** 2).sum()


def reference(weight, bias, points):
    """The gradient of the loss with respect to the weight and the bias of the layer that is used twice."""
    middle = np.tanh(points @ weight.T + bias)
    out = 2 * (middle @ weight.T + bias)
    before = out @ weight * (1 - middle**2)
    return {"weight": out.T @ middle + before.T @ points, "bias": out.sum(0) + before.sum(0)}


WEIGHT, BIAS, POINTS = (
    np.array(values, "float32") for values in ([[0.5, -0.2], [0.1, 0.3]], [0.1, -0.1], [[1, 2], [-1, 0.5]])
)


def shared_net(build):
    """A module with one layer in two places, and the values of its parameters by name."""
    module = build()
    values = {name: BIAS if name.endswith("bias") else WEIGHT for name in boat.parameters(module)}
    assert len(values) == 2
    boat.load(module, {name: jt.array(value) for name, value in values.items()})
    return module, values


def assert_same(gradients, weight=WEIGHT, bias=BIAS):
    right = reference(weight, bias, POINTS)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient.numpy(), right[name.rpartition(".")[2]], rtol=2e-5, err_msg=name)


@pytest.mark.parametrize("build", SHARING)
def test_gradient_of_a_module_in_two_places(build):
    module, weights = shared_net(build)
    before = {name: id(value) for name, value in module.named_parameters()}
    assert_same(boat.value_and_grad(lambda w: loss_of(module, w, jt.array(POINTS)))(weights)[1])
    assert {name: id(value) for name, value in module.named_parameters()} == before


@pytest.mark.parametrize("build", SHARING)
def test_optimizers_move_a_module_in_two_places(build):
    module, weights = shared_net(build)
    with boat.MetaOptimizer(module, boat.sgd(0.1)) as inner:
        inner.step(lambda: (module(jt.array(POINTS)) ** 2).sum())
    moved = reference(WEIGHT, BIAS, POINTS)
    right = {name: value - 0.1 * moved[name.rpartition(".")[2]] for name, value in weights.items()}
    for name, value in boat.parameters(module).items():
        np.testing.assert_allclose(value.numpy(), right[name], rtol=2e-5)

    module, _ = shared_net(build)
    boat.ModuleOptimizer(module, boat.sgd(0.1)).step((module(jt.array(POINTS)) ** 2).sum())
    for name, value in boat.parameters(module).items():
        np.testing.assert_allclose(value.numpy(), right[name], rtol=2e-5)


def test_implicit_module_with_a_layer_in_two_places():
    class Ridge(boat.ImplicitModule, nn.Module):
        """Minimises the sum of (layer + layer - meta)² over its entries, so that each entry is half of meta."""

        def __init__(self):
            self.a = nn.Linear(1, 2)
            self.b = self.a

        def objective(self, meta):
            layers = ((self.a.weight + self.b.weight - meta) ** 2).sum()
            return layers + ((self.a.bias + self.b.bias - meta) ** 2).sum()

        def solve(self, meta):
            boat.load(self, {name: value * 0 + meta / 2 for name, value in boat.parameters(self).items()})

    module, meta = Ridge(), jt.array(np.array([3.0], "float32"))
    module.adapt(meta)
    value = (module.a.weight * module.b.weight).sum() + module.b.bias.sum()  # 2 (meta / 2)² + meta
    np.testing.assert_allclose(jt.grad(value, meta).numpy(), [4.0], rtol=1e-5)


def test_shared_statistics_stay_shared_during_a_call():
    module = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2))
    module[1].running_mean = module[0].running_mean

    class Reads(nn.Module):
        def __init__(self):
            self.norms = module

        def execute(self, x):
            self.norms[0](x)
            return self.norms[1].running_mean

    reads, points = Reads(), jt.array(POINTS)
    seen = boat.call(reads, boat.parameters(reads), points)
    np.testing.assert_allclose(seen.numpy(), 0.1 * POINTS.mean(0), rtol=1e-5)
    assert not module[0].running_mean.numpy().any()


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
