"""The door to an objective: a kernel is refused where a derivative is taken, and `jt.no_grad()` changes no number."""

from __future__ import annotations

import ast
from pathlib import Path

import jittor as jt
import numpy as np
import pytest
from jittor import nn

import boat_core as boat
from boat_core.testing import assert_close

X = np.array([1.0, -2.0, 0.5])
REFUSED = r"kernel doubled: .* call doubled\.reference"


def doubled(v):
    """2 v"""
    return (v + v,)


# No source: a call that is refused never looks for it, and one that is not falls back to the plain operators.
KERNEL = boat.kernel(Path("doubled.cu"), like=("v",))(doubled)


def twice(array):
    return KERNEL(boat.Vector([array], None))[0].leaves[0]


def var(values=X):
    return jt.array(np.array(values, dtype="float64"), dtype="float64")


def square(y, *_):
    return (y * y).sum()


def with_kernel(y, *_):
    return (twice(y) * y).sum()


class Net(nn.Module):
    def __init__(self):
        self.w = var()

    def execute(self, objective):
        return objective(self.w)


class Ridge(boat.ImplicitModule, nn.Module):
    def __init__(self, objective):
        self.w, self.of = var(0.5 * X), objective

    def execute(self):
        return self.w

    def objective(self, meta):
        return self.of(self.w) - (meta * self.w).sum()

    def solve(self, meta):
        twice(meta)  # no derivative passes through here
        self.w.update(0.5 * meta)


def unrolled(objective):
    return boat.unroll(lambda t, z, x: z - 0.1 * boat.grad(objective)(z), X, X, 2)


def meta_step(objective):
    net = Net()
    with boat.MetaOptimizer(net, boat.sgd(0.1)) as inner:
        inner.step(net(objective))


def meta_step_on_function(objective):
    net = Net()
    with boat.MetaOptimizer(net, boat.sgd(0.1)) as inner:
        inner.step(lambda: net(objective))


def module_step(objective):
    net = Net()
    boat.ModuleOptimizer(net, boat.sgd(0.1)).step(lambda: net(objective))


def solver(lower=square, upper=square, approximate="RAD", **options):
    problem = boat.Problem(
        upper_objective=lambda x, y, _: upper(y) + upper(x),
        lower_objective=lambda x, y, _: lower(y) - (x * y).sum(),
        upper=X,
        lower=0.5 * X,
    )
    settings = {"map": "NGD", "lower_steps": 2, "lower_optimizer": boat.sgd(0.1), "upper_optimizer": boat.sgd(0.1)}
    return boat.Solver(problem, approximate=approximate, **(settings | options))


def rule_with_kernel():
    """Plain descent whose step calls a kernel."""

    def update(g, state, y):
        return -0.1 * twice(g), state

    return boat.Optimizer("kernel-descent", lambda parameters: (), update)


TAKEN = {
    "grad": lambda objective: boat.grad(objective)(var()),
    "value_and_grad": lambda objective: boat.value_and_grad(objective)(var()),
    "unroll, in a gradient": unrolled,
    "unroll, in the step": lambda objective: boat.unroll(lambda t, z, x: z - objective(z) * x, X, X, 2),
    "MetaOptimizer": meta_step,
    "MetaOptimizer, function": meta_step_on_function,
    "ModuleOptimizer, function": module_step,
    "custom_root": lambda objective: boat.custom_root(boat.grad(objective))(lambda start, x: 0 * x)(None, var()),
    "custom_fixed_point": lambda objective: boat.custom_fixed_point(lambda y, x: y * objective(y))(
        lambda start, x: 0 * x
    )(None, var()),
    "ImplicitModule": lambda objective: Ridge(objective).adapt(var()),
    "lower objective": lambda objective: solver(lower=objective).hypergradient(),
    "upper objective": lambda objective: solver(upper=objective).hypergradient(),
    "assert_twice_differentiable": lambda objective: boat.testing.assert_twice_differentiable(objective, X),
}


@pytest.mark.parametrize("name", TAKEN)
def test_a_kernel_is_refused_where_a_derivative_is_taken(name):
    with pytest.raises(boat.SecondOrderError, match=REFUSED):
        TAKEN[name](with_kernel)
    twice(var())  # outside it is a function like any other


def test_a_kernel_is_refused_in_a_lower_step_that_is_differentiated():
    with pytest.raises(boat.SecondOrderError, match=REFUSED):
        solver(lower_optimizer=rule_with_kernel()).hypergradient()
    learned = solver(lower_optimizer=lambda x: boat.scale(twice(x)[0]))
    with pytest.raises(boat.SecondOrderError, match=REFUSED):
        learned.hypergradient()


def test_a_kernel_is_allowed_where_no_derivative_passes():
    estimate = boat.es_grad(samples=2)(lambda x: float(with_kernel(x).numpy()[0]))
    x = var()
    _, gradient = boat.value_and_grad(estimate)(x)  # the function is inside one whose gradient is taken
    assert np.isfinite(gradient.numpy()).all()
    Ridge(square).adapt(var())
    solver(upper_optimizer=rule_with_kernel()).step()


def test_a_solver_inside_a_differentiated_function_uses_its_kernels():
    """What it returns has no history, so no derivative passes through its own kernels."""
    inner = solver(approximate="FD")

    def objective(x):
        inner.hypergradient()
        return square(x)

    assert_close(boat.value_and_grad(objective)(var())[1], 2 * X, 1e-12)


def results(objective, net, meta):
    """Every way to a derivative, as numpy arrays by name, from arrays made here."""
    x = var()
    boat.ModuleOptimizer(net, boat.sgd(0.1)).step(lambda: net(objective))
    with boat.MetaOptimizer(meta, boat.sgd(0.1)) as inner:
        inner.step(lambda: meta(objective))
        inner.step(lambda: meta(objective))
    one = solver(objective, objective, upper_optimizer=boat.adam(0.1))
    first = one.hypergradient().upper
    one.step()
    one.step()
    found = {
        "value_and_grad": boat.value_and_grad(objective)(x)[1],
        "grad": boat.grad(objective)(x),
        "unroll": boat.unroll(lambda t, z, x: z - x * boat.grad(objective)(z), x, x, 2).pullback(X),
        "ModuleOptimizer": net.w,
        "MetaOptimizer": meta.w,
        "solver.hypergradient": first,
        "solver.step": one.upper,
        "solver.hypergradient after steps": one.hypergradient().upper,
    }
    return {name: boat.testing.flat(value) for name, value in found.items()}


def test_no_grad_changes_no_number():
    truth = results(square, Net(), Net())
    net, meta = Net(), Net()  # Jittor takes the parameters of a module made within no_grad as constants
    with jt.no_grad():
        found = results(square, net, meta)
        assert jt.flags.no_grad == 1
    for name, value in truth.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
        assert value.any(), name


def test_a_module_stepped_within_no_grad_stays_trainable():
    net, meta = Net(), Net()
    with jt.no_grad():
        boat.ModuleOptimizer(net, boat.sgd(0.1)).step(lambda: net(square))
        with boat.MetaOptimizer(meta, boat.sgd(0.1)) as inner:
            inner.step(lambda: meta(square))
    for one in (net, meta):
        assert_close(jt.grad(one(square), one.w), 2 * 0.8 * X, 1e-12)


def test_only_the_door_switches():
    """Nobody else sets the mode or Jittor's no_grad, so that whatever is evaluated passes through one place."""
    root = Path(boat.__file__).parent
    for path in root.rglob("*.py"):
        place = path.relative_to(root).as_posix()
        if place in ("autodiff/evaluation.py", "autodiff/switches.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                assert node.attr != "no_grad", f"{place}:{node.lineno} sets no_grad"
            elif isinstance(node, ast.Attribute):
                owner = node.value.id if isinstance(node.value, ast.Name) else ""
                assert owner != "MODE" or node.attr == "get", f"{place}:{node.lineno} uses MODE.{node.attr}"
                assert node.attr != "no_grad", f"{place}:{node.lineno} uses no_grad"
            elif isinstance(node, ast.keyword):
                assert node.arg != "no_grad", f"{place}:{node.lineno} passes no_grad"
