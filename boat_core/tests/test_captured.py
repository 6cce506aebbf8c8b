"""Arrays that reach a solver, an iteration or a sampled function through a closure have the right derivative."""

from __future__ import annotations

import functools

import jittor as jt
import numpy as np
import pytest
from jittor import nn

import boat_core as boat

pytestmark = pytest.mark.usefixtures("single_operators")

P = np.array([0.3, 0.5])


def array(values):
    return jt.array(np.array(values, "float64"), dtype="float64")


def solved(residual, *arguments):
    y = array([0.1, 0.2])
    for _ in range(80):
        y = (y - 0.3 * residual(y, *arguments)).detach()
    return y


def root(residual, *arguments, decorator=boat.custom_root):
    @decorator(residual, second_order_guard="off", tolerance=1e-6)
    def fit(start, *arguments):
        of = residual if decorator is boat.custom_root else lambda y, *a: y - residual(y, *a)
        return solved(of, *arguments)

    return fit(array([0.1, 0.2]), *arguments)


def closure(p):
    return (root(lambda y, q: 2 * y + 0.1 * y**3 - p * q, array([1.0, 2.0])) ** 2).sum()


def made_before(p):
    z = p * p + p.sum()
    return (root(lambda y: 2 * y + 0.1 * y**3 - z) ** 2).sum()


def shared(p):
    return (root(lambda y, q: 2 * y + 0.1 * y**3 - p * q, p) ** 2).sum()


def fixed_point(p):
    return (root(lambda y, q: 0.2 * y * y + p * q, array([0.5, 0.7]), decorator=boat.custom_fixed_point) ** 2).sum()


def inside_another(p):
    def condition(y, q):
        return y - 0.1 * root(lambda w: 2 * w + 0.1 * w**3 - p - y * p.sum()) - q

    return (root(condition, array([0.1, 0.2])) ** 2).sum()


def unrolled(p):
    rates = [0.1 * p[0], 0.2 * p[1], 0.05 * p.sum()]
    end = boat.unroll(lambda t, z, x: z - rates[t] * (2 * z + p * z**3 - x), array([1.0, 2.0]), p, 3).end
    return (end**2).sum()


def root_in_a_step(p):
    def step(t, z, x):
        return z - 0.1 * (z - root(lambda y, q: 2 * y + 0.1 * y**3 - p * q, z) * x)

    return (boat.unroll(step, array([1.0, 2.0]), array([0.3, 0.4]), 2, second_order_guard="off").end ** 2).sum()


class Ridge(boat.ImplicitModule, nn.Module):
    second_order_guard = "off"
    tolerance = 1e-6

    def __init__(self, p):
        self.w = array([0.0, 0.0])
        self._p = p  # not a parameter of the module

    def objective(self, meta):
        return ((self.w - self._p * meta) ** 2).sum() + 0.1 * (self.w**4).sum()

    def solve(self, meta):
        p = self._p
        self.w.update(solved(lambda y: 2 * (y - p * meta) + 0.4 * y**3))


def module(p):
    ridge = Ridge(p)
    ridge.adapt(array([1.0, 2.0]))
    value = (ridge.w**2).sum()
    ridge.release()
    return value


CASES = (closure, made_before, shared, fixed_point, inside_another, unrolled, root_in_a_step, module)


@functools.cache
def truth(function, at=tuple(P)):
    """Central differences."""
    h, value = 1e-5, boat.value_and_grad(lambda p, unused: function(p), 1)
    values = [
        [value(array(np.array(at) + sign * h * step), np.zeros(1))[0].numpy()[0] for sign in (1, -1)]
        for step in np.eye(len(at))
    ]
    return np.array([(up - down) / (2 * h) for up, down in values])


@pytest.mark.parametrize("function", CASES)
def test_the_derivative_is_right_where_boat_takes_it(function):
    np.testing.assert_allclose(boat.value_and_grad(function)(P)[1].numpy(), truth(function), rtol=1e-5)


@pytest.mark.parametrize("function", CASES)
def test_jittors_own_derivative_is_refused(function):
    p = array(P)
    with pytest.raises(boat.ObjectiveError, match=r"does not receive as an argument.*number 1 in the call of grad"):
        jt.grad(function(p), [array([1.0]), p])


def test_no_grad_changes_nothing():
    with jt.no_grad():
        np.testing.assert_allclose(boat.value_and_grad(closure)(P)[1].numpy(), truth(closure), rtol=1e-5)


def test_pytrees_and_the_gradient_as_a_function():
    def tree(p):
        return closure(p["a"][0]) + (p["b"] ** 2).sum()

    point = {"a": [array(P)], "b": array([2.0])}
    for gradient in (boat.value_and_grad(tree)(point)[1], boat.grad(tree, second_order_guard="off")(point)):
        np.testing.assert_allclose(gradient["a"][0].numpy(), truth(closure), rtol=1e-5)
        assert gradient["b"].numpy() == [4.0]


def test_constants_stay_constants():
    """Data, and arrays with respect to which nobody takes a derivative, raise no alarm."""
    data, weights = array([1.0, 2.0]), array([0.5, 1.5])

    def function(q):
        return (root(lambda y, q: 2 * y + 0.1 * y**3 - data * weights * q, q) ** 2).sum()

    q = array(P)
    np.testing.assert_allclose(jt.grad(function(q), q).numpy(), truth(function), rtol=1e-5)
    # The value that was cut off from the solution depends on nothing.
    value = (root(lambda y, q: 2 * y - data * q, q).detach() * data).sum()
    assert jt.grad(value, data).numpy().tolist() == [0.15, 0.5]


def test_objectives_of_a_solver():
    def upper(x, y, batch):
        return (root(lambda w, q: 2 * w + 0.1 * w**3 - x * q, y) ** 2).sum()

    def end(x):
        y = array([0.1, 0.1])
        for _ in range(2):
            y = y - 0.5 * (y - x * x)
        return upper(x, y, None)

    problem = boat.Problem(upper, lambda x, y, b: ((y - x * x) ** 2).sum(), P, np.full(2, 0.1))
    optimizers = {"lower_optimizer": boat.sgd(0.25), "upper_optimizer": boat.sgd(0.1)}
    solver = boat.Solver(problem, method="RHG", lower_steps=2, **optimizers)
    np.testing.assert_allclose(solver.hypergradient().upper.numpy(), truth(end), rtol=1e-5)


class Holder(nn.Module):
    def __init__(self):
        self.p = array(P)


def test_optimizers_of_a_module():
    net = Holder()
    boat.ModuleOptimizer(net, boat.sgd(1.0)).step(lambda: closure(net.p))
    np.testing.assert_allclose(P - net.p.numpy(), truth(closure), rtol=1e-5)
    with pytest.raises(boat.ObjectiveError, match="as an argument"):
        boat.ModuleOptimizer(net, boat.sgd(1.0)).step(closure(net.p))


def test_derivatives_through_the_steps_of_a_module():
    def end(rate):
        p = array(P)
        return closure(p - rate * 2 * p)

    net, rate = Holder(), array([0.1])
    start = net.p
    with boat.MetaOptimizer(net, boat.sgd(rate), second_order_guard="off") as inner:
        inner.step((net.p**2).sum())
        of_rate, of_start = jt.grad(closure(net.p), [rate, start])
    np.testing.assert_allclose(of_rate.numpy(), truth(end, (0.1,)), rtol=1e-5)
    np.testing.assert_allclose(of_start.numpy(), 0.8 * boat.value_and_grad(closure)(0.8 * P)[1].numpy(), rtol=1e-6)


class Scorer:
    def __init__(self, p):
        self.p = p

    def score(self, w):
        return (w * self.p).sum()


SAMPLED = {
    "graph": lambda p: lambda w: (w * p).sum(),
    "made before": lambda p: (lambda z: lambda w: (w * z).sum())(p * p),
    "numpy": lambda p: lambda w: float((w.numpy() * p.numpy()).sum()),
    "default": lambda p: lambda w, p=p: float((w.numpy() * p.numpy()).sum()),
    "partial": lambda p: functools.wraps(closure)(functools.partial(lambda p, w: float(w.numpy() @ p.numpy()), p)),
    "method": lambda p: Scorer(p).score,
    "function": lambda p: (lambda inner: lambda w: inner(w))(lambda w: float(w.numpy() @ p.numpy())),
}


@pytest.mark.parametrize("case", SAMPLED)
def test_a_sampled_function_names_what_it_has_to_receive(case):
    def function(p):
        return boat.es_grad(samples=3)(SAMPLED[case](p["a"]))(array([1.0, 2.0]))

    with pytest.raises(boat.ObjectiveError, match=r"argument 0 of .*function\['a'\] without receiving it.*argnums"):
        boat.value_and_grad(function)({"a": array(P)})
    p = array(P)
    value = boat.es_grad(samples=3)(SAMPLED[case](p))(array([1.0, 2.0]))
    with pytest.raises(boat.ObjectiveError, match="list its place in argnums"):
        jt.grad(value, p)


def test_a_sampled_function_may_hold_constants():
    data = array([3.0, 4.0])
    score = boat.es_grad(samples=200, seed=1)(lambda w: (w * data).sum())
    gradient = boat.value_and_grad(lambda p: score(p) + (p * p.detach()).sum())(P)[1].numpy()
    np.testing.assert_allclose(gradient, data.numpy() + P, rtol=0.3)
