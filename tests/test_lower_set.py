"""Hypergradients where the lower solution lies on the boundary of the lower set, with every installed estimator."""

from __future__ import annotations

import jittor as jt
import numpy as np
import pytest

import boat_core as boat
from boat_core.autodiff.arrays import as_array
from boat_core.plugins.discovery import installed
from boat_core.testing import assert_close

ESTIMATORS = installed().operations("approximate", "estimator")
END_POINT = [entry.name for entry in ESTIMATORS if "end-point" in entry.operation.tags]
OPTIONS = {"NS": {"terms": 300}, "CG": {"tolerance": 1e-12}, "NYSTROM": {"damping": 1e-9}, "RGT": {"last_steps": 1}}
RATE, STEPS = 0.2, 200

X = np.array([-0.5, 0.4, 1.7])
W = np.array([[2.0, 0.3, 0.0], [0.3, 1.0, 0.2], [0.0, 0.2, 1.5]])


def upper(x, y, batch):
    return ((y - 2) * (y - 2)).sum()


def squares(x, y, batch):
    return ((y - x) * (y - x)).sum()


def weighted(x, y, batch):
    """(y - x)ᵀ W (y - x)"""
    e = (y - x).reshape(1, -1)
    return ((e @ as_array(W)) * e).sum()


def box(y):
    return jt.minimum(jt.maximum(y, jt.zeros_like(y)), jt.ones_like(y))


def ball(y):
    length = jt.sqrt((y * y).sum())
    return y / jt.maximum(length, jt.ones_like(length))


def half_space(y):
    """The nearest point with Σ y_i <= 1."""
    excess = (y.sum() - 1) / 3
    return y - jt.maximum(excess, jt.zeros_like(excess))


def on_ball():
    """y* = x/‖x‖, whose derivative is (I - uuᵀ)/‖x‖."""
    u = X / np.linalg.norm(X)
    return (np.eye(3) - np.outer(u, u)) @ (2 * (u - 2)) / np.linalg.norm(X)


def on_half_space():
    """y* = x - w (Σ x_i - 1), w = W⁻¹1/(1ᵀW⁻¹1)."""
    w = np.linalg.solve(W, np.ones(3)) / np.linalg.solve(W, np.ones(3)).sum()
    return (np.eye(3) - np.outer(np.ones(3), w)) @ (2 * (X - w * (X.sum() - 1) - 2))


ARRAYS = np.array([0.0, -9.0, -np.inf]), as_array(np.array([9.0, 9.0, 1.0], "float32"))
SETS = {
    "bounds": ((0.0, 1.0), squares, np.array([0.0, -3.2, 0.0])),
    "arrays": (ARRAYS, squares, np.array([0.0, -3.2, 0.0])),
    "box": (box, squares, np.array([0.0, -3.2, 0.0])),
    "ball": (ball, squares, on_ball()),
    "half-space": (half_space, weighted, on_half_space()),
}


def hypergradient(chain, projection, lower=squares, x=X, steps=STEPS, optimizer=None, strict=False):
    solver = boat.Solver(
        boat.Problem(upper, lower, x, np.full(3, 0.5), project_lower=projection),
        approximate=chain,
        options={name: OPTIONS[name] for name in chain if name in OPTIONS},
        lower_steps=steps,
        lower_optimizer=optimizer or boat.sgd(RATE),
        upper_optimizer=boat.sgd(0.1),
        strict=strict,
    )
    return solver.hypergradient()


@pytest.mark.parametrize("kind", SETS)
@pytest.mark.parametrize("name", ["RAD", *END_POINT])
def test_estimators_are_right_on_the_boundary_or_say_that_they_are_not(name, kind):
    projection, lower, truth = SETS[kind]
    h = hypergradient([name], projection, lower)
    if name == "FD":  # the derivative through the last step alone, by definition
        truth = hypergradient(["RGT", "RAD"], projection, lower).upper.numpy()
    if not h.report.concerns:
        return assert_close(h.upper, truth, 1e-6)
    assert all(concern.startswith(f"{name}: ") and "project_lower" in concern for concern in h.report.concerns)
    with pytest.raises(boat.DoubtfulError, match="project_lower"):
        hypergradient([name], projection, lower, strict=True)


@pytest.mark.parametrize("kind", SETS)
@pytest.mark.parametrize("name", ["CG", "NS", "FD"])
def test_most_estimators_hold_on_every_set(name, kind):
    assert not hypergradient([name], *SETS[kind][:2]).report.concerns


@pytest.mark.parametrize("projection", [(0.0, 1.0), ball], ids=["bounds", "ball"])
@pytest.mark.parametrize("rate", [0.2, 0.9])
def test_fd_of_one_step_is_its_derivative(projection, rate):
    """With the rate 0.9 the step goes beyond the solution and is cut, though the solution lies inside."""
    x = np.array([-0.5, 0.1, 0.6])
    ours, exact = (hypergradient([n], projection, x=x, steps=1, optimizer=boat.sgd(rate)) for n in ("FD", "RAD"))
    assert_close(ours.upper, exact.upper.numpy(), 1e-9)


def test_a_kink_is_reported():
    """At x_0 = 0 the solution max(x_0, 0) has only one-sided derivatives."""
    h = hypergradient(["CG"], (0.0, 1.0), x=np.array([0.0, 0.4, 1.7]))
    (concern,) = h.report.concerns
    assert "1 of 3 entries of y lie at a bound of project_lower where the lower gradient is zero" in concern
    assert_close(h.upper[1:], [-3.2, 0.0], 1e-6)


def test_a_lower_optimizer_with_other_fixed_points_is_reported():
    """Adam followed by the projection onto a ball does not end at the nearest point; followed by bounds, it does."""
    h = hypergradient(["CG"], ball, weighted, optimizer=boat.adam(0.02), steps=300)
    assert "y_T is no fixed point" in h.report.concerns[0]
    h = hypergradient(["CG"], (0.0, 1.0), optimizer=boat.adam(0.1), steps=300)
    assert not h.report.concerns
    assert_close(h.upper, [0.0, -3.2, 0.0], 1e-4)


def test_a_projection_outside_the_graph_is_refused_where_its_derivative_is_needed():
    def outside(y):
        return as_array(np.clip(y.numpy(), 0, 1))

    for chain in (["RAD"], ["CG"]):
        with pytest.raises(boat.StructureError, match="project_lower: its result does not depend on its argument"):
            hypergradient(chain, outside)
    assert np.isfinite(hypergradient(["ES"], outside, steps=5).upper.numpy()).all()
