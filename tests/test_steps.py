"""The lower optimizers' fused steps: the same step and adjoint as differentiating the optimizer itself."""

from __future__ import annotations

from dataclasses import replace

import jittor as jt
import numpy as np
import pytest

import boat_core as boat
from boat_core.autodiff import derivatives
from boat_core.autodiff.evaluation import evaluating
from boat_core.autodiff.pytrees import float_leaves
from boat_core.bilevel.lower_step import LowerStep
from boat_core.testing import assert_close, network_problem
from boat_ops_gm.kernels import STEPS

pytestmark = pytest.mark.usefixtures("single_operators")

OPTIMIZERS = {
    "sgd": boat.sgd(0.1),
    "weight decay": boat.sgd(0.1, weight_decay=0.2),
    "momentum": boat.sgd(0.1, momentum=0.9, weight_decay=0.2),
    "Nesterov": boat.sgd(0.1, momentum=0.9, nesterov=True),
    "adam": boat.adam(0.1),
}


def vector(rng):
    """Two leaves, some entries of which are zero: there Adam divides by its ε."""
    tree = {"a": rng.normal(size=(3, 4)), "b": rng.normal(size=2)}
    return boat.Vector.of({k: v * (np.arange(v.size).reshape(v.shape) % 3 > 0) for k, v in tree.items()}, "v")


@pytest.mark.parametrize("kernels", [True, False], ids=["kernels", "plain"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fused_step_equals_the_step_of_the_optimizer(name, kernels):
    rng, optimizer = np.random.default_rng(0), OPTIMIZERS[name]
    y = vector(rng)
    plain = LowerStep(None, optimizer, None, None, y, y)
    fused = replace(plain, fused=STEPS[optimizer.rule])
    z = (y.tree, optimizer.init(y.tree))
    with evaluating(kernels=kernels):
        for _ in range(3):
            d, p = list(vector(rng).leaves), [leaf for _ in range(3) for leaf in vector(rng).leaves]
            p = p[: len(float_leaves(z))]
            assert_close(float_leaves(fused.advance(0, z, None, d)), float_leaves(plain.advance(0, z, None, d)), 1e-12)
            (of_z, _, of_d), truth = fused.adjoint(0, z, None, d, p), plain.adjoint(0, z, None, d, p)
            assert_close([*of_z, *of_d], [*truth[0], *truth[2]], 1e-12)
            z = plain.advance(0, z, None, d)


def test_adam_keeps_finite_derivatives_at_zero_gradients():
    rng, optimizer = np.random.default_rng(0), boat.adam(0.1)
    y, zero = vector(rng), vector(rng).zeros()
    step = LowerStep(None, optimizer, None, STEPS[optimizer.rule], y, y)
    z = (y.tree, optimizer.init(y.tree))
    p = [jt.ones_like(leaf) for leaf in float_leaves(z)]
    of_z, _, of_d = step.adjoint(0, z, None, list(zero.leaves), p)
    assert all(np.isfinite(leaf.numpy()).all() for leaf in of_z + of_d)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fused_steps_differentiate_only_the_objective(name, monkeypatch):
    """The only products are those with the objective's second derivatives."""
    problem = network_problem()
    batches = problem.batches(0, None)
    settings = dict(lower_steps=3, lower_optimizer=OPTIMIZERS[name], upper_optimizer=boat.sgd(0.1), segment=1)
    solver, taken = boat.Solver(problem, **settings), []
    vjp = derivatives.vjp
    monkeypatch.setattr(derivatives, "vjp", lambda *a, **k: taken.append(k) or vjp(*a, **k))
    solver.hypergradient(*batches)
    assert taken == [{}] * 3
