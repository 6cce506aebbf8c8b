"""Optimizers that hold a Module, in place or with the graph kept, agree with the functional optimizers."""

from __future__ import annotations

import gc

import jittor as jt
import numpy as np
import pytest
from jittor import nn

import boat_core as boat
from boat_core.testing import assert_close, central_differences, flat

pytestmark = pytest.mark.usefixtures("single_operators")

RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 1))


def array(values):
    return jt.array(np.array(values, dtype="float64"), dtype="float64")


@pytest.fixture
def net():
    made = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    rng = np.random.default_rng(1)
    for one in made.parameters():
        one.assign(array(rng.normal(size=one.shape)))
    return made


def loss(net):
    return ((net(array(X)) - array(T)) ** 2).mean()


def objective(net):
    return lambda y: ((boat.call(net, y, array(X)) - array(T)) ** 2).mean()


def functional(net, optimizer, steps):
    y = boat.parameters(net)
    state, gradient = optimizer.init(y), boat.grad(objective(net))
    for _ in range(steps):
        updates, state = optimizer.update(gradient(y), state, y)
        y = boat.apply_updates(y, updates)
    return y


@pytest.mark.parametrize("optimizer", [boat.sgd(0.1, momentum=0.9), boat.adam(0.1)], ids=lambda o: o.name)
def test_in_place_steps_equal_the_functional_optimizer(net, optimizer):
    truth, held = functional(net, optimizer, 3), net.parameters()
    first = boat.ModuleOptimizer(net, optimizer)
    first.step(loss(net))
    other = boat.ModuleOptimizer(net, optimizer)
    other.restore(first.state)
    for _ in range(2):
        other.step(lambda: loss(net))
    assert_close(boat.parameters(net), truth, 1e-7)
    assert all(one is other for one, other in zip(held, net.parameters()))


def test_zero_grad_backward_and_step(net):
    start, holder = boat.parameters(net), boat.ModuleOptimizer(net, boat.sgd(0.1))
    gradient = boat.grad(objective(net))(start)
    holder.backward(loss(net))
    holder.zero_grad()
    holder.backward(loss(net))
    holder.backward(loss(net) * 2)
    holder.step()
    moved = {name: start[name] - 0.3 * gradient[name] for name in start}
    assert_close(boat.parameters(net), moved, 1e-7)
    with pytest.raises(boat.OptionError, match="expected a loss, or backward"):
        holder.step()


def test_a_nonfinite_gradient_moves_nothing(net):
    start, holder = flat(boat.parameters(net)), boat.ModuleOptimizer(net, boat.adam(0.1))
    with pytest.raises(boat.NonFiniteError, match="in the gradient of '0.weight'"):
        holder.step(loss(net) * float("nan"))
    assert_close(boat.parameters(net), start, 0)
    assert holder.state["count"] == 0


def adapted(net, rate, steps=3):
    """Return the loss after some steps, and its derivatives."""
    inner = boat.MetaOptimizer(net, boat.adam(rate))
    start = inner.extract()
    with inner:
        for _ in range(steps):
            inner.step(loss(net))
        value = loss(net)
        gradients = jt.grad(value, [rate, *start.parameters.values()])
        found = float(value.numpy()[0]), [one.numpy() for one in gradients]
    inner.restore(start)
    return found


def test_meta_steps_keep_the_graph_to_the_rate_and_the_start(net):
    start = boat.parameters(net)
    _, found = adapted(net, array([0.05]))
    assert_close(boat.parameters(net), start, 0)
    truth = central_differences(lambda rate: adapted(net, rate)[0], np.array([0.05]))
    assert_close(found[0], truth, 1e-7)

    def value(y):
        return float(objective(net)(functional_from(net, y)).numpy()[0])

    name = next(iter(start))
    truth = central_differences(lambda one: value({**start, name: one}), start[name].numpy())
    assert_close(found[1], truth, 1e-7)


def functional_from(net, y):
    boat.load(net, y)
    return functional(net, boat.adam(0.05), 3)


def test_stop_gradient_and_restore_release_the_graph(net):
    inner = boat.MetaOptimizer(net, boat.sgd(0.1, momentum=0.5))
    start = inner.extract()
    with inner:
        inner.step(loss(net))
        middle = inner.extract()
        inner.step(lambda: loss(net))
        far = flat(boat.parameters(net))
        inner.restore(middle)
        inner.step(loss(net))
        assert_close(boat.parameters(net), far, 1e-14)
        inner.stop_gradient()
        first = next(iter(start.parameters.values()))
        assert not jt.grad(loss(net), first).numpy().any()
    inner.restore(start)
    counts = []
    for _ in range(3):
        adapted(net, array([0.05]))
        gc.collect()
        counts.append(jt.liveness_info()["lived_vars"])
    assert counts[1] == counts[2]


class Wrong(nn.Module):
    def execute(self, x):
        return jt.cumsum(x, dim=0)


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda net: boat.MetaOptimizer(net, boat.sgd(0.1)).step(loss(net)), boat.OptionError, "a with block around"),
        (lambda net: boat.MetaOptimizer(net, 0.1), boat.OptionError, "expected an Optimizer such as"),
        (lambda net: boat.ModuleOptimizer(nn.Tanh(), boat.sgd(0.1)), boat.StructureError, "trainable parameters"),
        (lambda net: boat.ModuleOptimizer(net, boat.sgd(0.1)).step(net(array(X))), boat.ObjectiveError, "one number"),
        (lambda net: boat.ModuleOptimizer(net, boat.sgd(0.1)).restore({"m": 1}), boat.StructureError, "state"),
        (lambda net: boat.MetaOptimizer(net, boat.sgd(0.1)).restore({}), boat.StructureError, "expected a snapshot"),
    ],
)
def test_invalid_arguments_are_refused(net, act, error, message):
    with pytest.raises(error, match=message):
        act(net)


def test_meta_steps_are_guarded(net):
    with boat.MetaOptimizer(net, boat.sgd(0.1)) as inner, pytest.raises(boat.SecondOrderError, match="cumsum"):
        inner.step(Wrong()(net(array(X))).mean())
