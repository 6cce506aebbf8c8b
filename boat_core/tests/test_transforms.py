"""Schedules against the values of their definitions, and transforms against their formulas."""

from __future__ import annotations

import math

import jittor as jt
import numpy as np
import pytest

import boat_core as boat
from boat_core.autodiff import arrays
from boat_core.testing import assert_close, central_differences

pytestmark = pytest.mark.usefixtures("single_operators")


def array(values):
    return jt.array(np.array(values, dtype="float64"), dtype="float64")


# What optax 0.2.8 gives for the schedules of these names, but for warmup, whose `then` is a schedule of its own.
@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (boat.constant_schedule(0.3), {0: 0.3, 9: 0.3}),
        (boat.polynomial_schedule(1.0, 0.2, 4, power=2, begin=1), {0: 1.0, 1: 1.0, 3: 0.4, 5: 0.2, 9: 0.2}),
        (boat.exponential_schedule(0.8, 0.5, steps=2, begin=1), {1: 0.8, 2: 0.8 * 0.5**0.5, 5: 0.2}),
        (boat.exponential_schedule(0.8, 0.5, steps=2, staircase=True), {1: 0.8, 2: 0.4, 3: 0.4}),
        (boat.cosine_schedule(0.4, 6, end=0.1), {0: 0.4, 3: 0.25, 2: 0.1 + 0.3 * 0.75, 6: 0.1, 8: 0.1}),
        (boat.warmup_schedule(4, boat.cosine_schedule(0.4, 2)), {0: 0.0, 1: 0.1, 4: 0.4, 5: 0.2, 6: 0.0}),
        (boat.warmup_schedule(2, 0.3, start=0.1), {0: 0.1, 1: 0.2, 2: 0.3, 7: 0.3}),
        (boat.piecewise_schedule(1.0, {2: 0.5, 4: 0.1}), {1: 1.0, 2: 0.5, 3: 0.5, 4: 0.05}),
    ],
)
def test_schedules_return_the_expected_values(schedule, values):
    assert {t: schedule(t) for t in values} == {t: pytest.approx(value, rel=1e-14) for t, value in values.items()}


def test_a_schedule_is_differentiable_in_its_values():
    def end(values):
        initial, last, y = array(values[:1]), array(values[1:]), array([1.0])
        optimizer = boat.sgd(boat.warmup_schedule(1, boat.cosine_schedule(initial, 4, end=last)))
        state = optimizer.init(y)
        for _ in range(4):
            updates, state = optimizer.update(y * y, state, y)
            y = boat.apply_updates(y, updates)
        return y, (initial, last)

    values = np.array([0.2, 0.05])
    y, inputs = end(values)
    truth = central_differences(lambda v: float(end(v.numpy())[0].numpy()[0]), values)
    assert_close(np.concatenate([g.numpy() for g in jt.grad(y, list(inputs))]), truth, 1e-8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: boat.cosine_schedule(0.1, 0), "cosine_schedule.steps: expected an integer >= 1"),
        (lambda: boat.cosine_schedule(float("nan"), 3), "cosine_schedule.initial: expected a number"),
        (lambda: boat.cosine_schedule(boat.constant_schedule(1.0), 3), "initial: expected a number or an array"),
        (lambda: boat.piecewise_schedule(1.0, {0: 0.5}), "factors: expected steps >= 1 with numbers"),
        (lambda: boat.constant_schedule(1.0)(-1), "expected a step >= 0"),
    ],
)
def test_invalid_schedules_are_refused(make, message):
    with pytest.raises(boat.OptionError, match=message):
        make()


G = {"a": [3.0, 0.0, -4.0], "b": [12.0]}


def tree(of=G):
    return {key: array(value) for key, value in of.items()}


def numbers(found):
    return np.concatenate([found[key].numpy() for key in sorted(found)])


def once(transform, g=None, y=None):
    y = tree() if y is None else y
    return transform.update(g or tree(), transform.init(y), y)[0]


@pytest.mark.parametrize(
    ("transform", "truth"),
    [
        (boat.clip_by_norm(6.5), np.array([1.5, 0.0, -2.0, 6.0])),
        (boat.clip_by_norm(20.0), np.array([3.0, 0.0, -4.0, 12.0])),
        (boat.clip_by_value(3.5), np.array([3.0, 0.0, -3.5, 3.5])),
        (boat.add_weight_decay(0.5), np.array([4.5, 0.0, -6.0, 18.0])),
        (boat.scale(boat.constant_schedule(-0.1)), np.array([-0.3, 0.0, 0.4, -1.2])),
        (boat.masked(boat.scale(2.0), {"a": True, "b": False}, others="pass"), np.array([6.0, 0.0, -8.0, 12.0])),
        (boat.masked(boat.sgd(0.1), lambda y: {"a": False, "b": True}, others="zero"), np.array([0, 0, 0, -1.2])),
        (boat.chain(boat.clip_by_norm(6.5), boat.scale(2.0), boat.sgd(0.1)), np.array([-0.3, 0.0, 0.4, -1.2])),
    ],
    ids=lambda value: value.name if isinstance(value, boat.Optimizer) else "",
)
def test_transforms_compute_their_formula(transform, truth):
    assert_close(numbers(once(transform)), truth, 1e-14)


def test_accumulation_takes_one_step_on_the_mean_gradient():
    gradients, y = [tree({"a": [k, 1.0, -k], "b": [2.0 * k]}) for k in (1.0, 5.0, 3.0, 7.0)], tree()
    every, alone = boat.accumulate(boat.adam(0.1), 2), boat.adam(0.1)
    state, own = every.init(y), alone.init(y)
    for first, second in zip(gradients[::2], gradients[1::2]):
        updates, state = every.update(first, state, y)
        assert not numbers(updates).any()
        updates, state = every.update(second, state, y)
        truth, own = alone.update({k: (first[k] + second[k]) / 2.0 for k in first}, own, y)
        assert_close(numbers(updates), numbers(truth), 1e-14)


@pytest.mark.parametrize("factor", [0.0, 1.0])
def test_clipping_by_norm_is_differentiable_at_zero(factor):
    g = array(np.array([3.0, -4.0, 12.0]) * factor)
    found = boat.clip_by_norm(6.5).update(g, (), g)[0]
    first = jt.grad((found * array([1.0, 2.0, 3.0])).sum(), g)
    second = jt.grad((first * array([1.0, 0.5, 0.2])).sum(), g)
    if factor:
        n, w = 13.0, np.array([1.0, 2.0, 3.0])
        v = g.numpy()
        assert_close(first, 6.5 * (w / n - v * (v @ w) / n**3), 1e-12)
    else:
        assert_close(first, [1.0, 2.0, 3.0], 1e-14)
    assert np.isfinite(second.numpy()).all()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: boat.chain(), boat.OptionError, "chain: expected at least one"),
        (lambda: boat.chain(0.1), boat.OptionError, "chain: part 0: expected an optimizer"),
        (lambda: boat.clip_by_norm(0.0), boat.OptionError, "clip_by_norm.norm: expected a number > 0"),
        (lambda: boat.clip_by_value(math.inf), boat.OptionError, "clip_by_value.value: expected a number > 0"),
        (lambda: boat.accumulate(boat.sgd(0.1), 0), boat.OptionError, "accumulate: steps: expected an integer >= 1"),
        (lambda: boat.masked(boat.sgd(0.1), {}, others="keep"), boat.OptionError, "others: expected 'pass' or 'zero'"),
        (lambda: once(boat.masked(boat.sgd(0.1), {"a": True}, others="pass")), boat.StructureError, "expected a mask"),
        (
            lambda: boat.chain(boat.scale(1.0)).update(tree(), boat.adam().init(tree()), tree()),
            boat.StructureError,
            r"chain\(scale\): expected a state for each of its 1 parts \(got dict of 3\)",
        ),
        (
            lambda: boat.accumulate(boat.sgd(0.1), 2).update(tree(), {}, tree()),
            boat.StructureError,
            "accumulate: expected a state that holds count, sum and part",
        ),
    ],
)
def test_invalid_transforms_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("size", [4, 1000])
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (None, 1.0), (-1.0, None)])
def test_clipping_keeps_nan(bounds, value, size):
    """Clipping and projection keep a NaN, also in vectorised kernels."""
    values = np.where(np.arange(size) == 1, value, np.linspace(-3, 3, size))
    found = arrays.clamped(array(values), *bounds).numpy()
    low, high = (-np.inf if bounds[0] is None else -1.0), (np.inf if bounds[1] is None else 1.0)
    assert np.isnan(found[1])
    assert_close(np.delete(found, 1), np.delete(np.clip(values, low, high), 1), 0)
