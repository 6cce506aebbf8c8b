"""What a problem, its batches and a solver's names may be. Wrong arguments get one error with place and remedy."""

from __future__ import annotations

import numpy as np
import pytest

import boat_core as boat


def objective(x, y, batch):
    return ((y - x) ** 2).sum()


def problem(**changes):
    start = np.zeros(2, "float32")
    return boat.Problem(objective, objective, **{"upper": start, "lower": start, **changes})


BOUNDS = "expected a pair of bounds (low, high) with low <= high, where None is no bound, or a function"


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ([0, 1], (0, 1)),
        ((None, np.float32(0.5)), (None, 0.5)),
        ([np.int64(-1), float("inf")], (-1, float("inf"))),
        ((2, 2), (2, 2)),
        (abs, abs),
        (None, None),
    ],
)
@pytest.mark.parametrize("role", ["project_lower", "project_upper"])
def test_bounds(role, bounds, expected):
    assert getattr(problem(**{role: bounds}), role) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"project_lower": (1, 0)}, f"project_lower: low is above high: {BOUNDS} (got (1, 0))"),
        ({"project_upper": [0, float("nan")]}, f"project_upper: {BOUNDS} (got [0, nan])"),
        ({"project_lower": (0, 1, 2)}, f"project_lower: {BOUNDS} (got (0, 1, 2))"),
        ({"project_lower": ("0", 1)}, f"project_lower: {BOUNDS} (got ('0', 1))"),
        ({"project_lower": 0.5}, f"project_lower: {BOUNDS} (got 0.5)"),
        ({"project_lower": iter((0, 1))}, f"project_lower: {BOUNDS} (got <tuple_iterator"),
        ({"project_lower": np.array([0.0, 1.0])}, f"project_lower: {BOUNDS} (got array("),
        ({"project_lower": (np.array([0.0, np.nan]), 1)}, f"project_lower: {BOUNDS} (got (array("),
        ({"project_lower": (np.zeros(2), np.array([1.0, -1.0]))}, f"project_lower: low is above high: {BOUNDS} (got"),
        ({"project_lower": (np.ma.masked_array([0.0], [True]), 1)}, "project_lower: expected an array without a mask"),
        ({"batches": iter(())}, "batches: expected a function (k, rng), or None (got <tuple_iterator"),
        ({"evaluate": 3}, "evaluate: expected a function (upper, lower), or None (got 3)"),
        ({"panels": [abs]}, "panels: expected a mapping from titles to functions (axes, upper, lower) (got ["),
        ({"panels": {"x": 3}}, "panels: expected a mapping from titles to functions (axes, upper, lower) (got {"),
    ],
)
def test_what_no_problem_can_have(change, message):
    with pytest.raises(boat.StructureError) as caught:
        problem(**change)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("batches", [iter([1, 2]), (one for one in "ab"), {0: 1, 1: 2}, "ab", None, {1, 2}])
def test_what_holds_no_batch_per_step(batches):
    expected = "PerStep: expected a list with one batch per lower step .*; write PerStep"
    with pytest.raises(boat.StructureError, match=expected):
        boat.PerStep(batches)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"map": 3}, "map: expected names of operations (got 3)"),
        ({"map": {"STEP": 1}}, "map: expected names of operations (got {'STEP': 1})"),
        ({"approximate": [None]}, "approximate: expected names of operations (got [None])"),
        ({"first_order": ["BOTH"]}, "first_order: expected one name (got ['BOTH'])"),
        ({"method": 3}, "method: expected one name (got 3)"),
        ({"options": [1]}, "options: expected a mapping from operations to mappings of their options (got [1])"),
        ({"options": {"STEP": 3}}, "options: expected a mapping from operations to mappings of their options"),
    ],
)
def test_names_that_are_none(toys, names, message):
    with pytest.raises(boat.CompositionError) as caught:
        boat.compose(toys, **names)
    assert str(caught.value).startswith(message)


def test_any_iterable_of_names_is_a_chain(toys):
    assert boat.compose(toys, map=(name for name in ("STEP", "SUM"))) == boat.compose(toys, map=["SUM", "STEP"])


@pytest.fixture
def step(toys):
    """`step(batch, …)`: one step of a solver with this lower batch."""

    def step(lower_batch=None, objective=objective, **changes):
        start = np.zeros(2, "float32")
        own = {key: changes.pop(key) for key in ("project_lower",) if key in changes}
        sgd = boat.sgd(np.float64(0.1))
        given = {"lower_steps": 2, "lower_optimizer": sgd, "upper_optimizer": sgd, "registry": toys, **changes}
        return boat.Solver(boat.Problem(objective, objective, start, start, **own), "STEP", **given).step(lower_batch)

    return step


def test_integers_of_numpy_and_lists_as_bounds(step):
    plain = step(lower_steps=2, segment=1, memory=1000, project_lower=(0, 1))
    other = step(lower_steps=np.int64(2), segment=np.int32(1), memory=np.int64(1000), project_lower=[0, 1])
    assert (plain.upper_loss, plain.report) == (other.upper_loss, other.report)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (iter([1]), "lower_batch: expected arrays, which are read more than once (got list_iterator); write list"),
        ({"a": map(abs, [1])}, "lower_batch['a']: expected arrays, which are read more than once (got map); write"),
    ],
)
def test_an_iterator_is_no_batch(step, batch, message):
    with pytest.raises(boat.StructureError) as caught:
        step(batch)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_mean_of_an_empty_batch(step, dtype):
    expected = r"mean: expected at least one entry \(got an array of shape \[0, 3\]\); is a batch empty\?"
    with pytest.raises(boat.ObjectiveError, match=expected):
        step(np.zeros((0, 3), dtype), lambda x, y, b: (y * y).sum() + (x * x).sum() + (0 if b is None else b.mean()))


def test_counts_of_numpy_are_counts():
    three = np.int64(3)
    assert boat.cosine_schedule(0.1, three)(three) == boat.cosine_schedule(0.1, 3)(3)
    assert boat.piecewise_schedule(0.1, {three: np.float32(0.5)})(three) == 0.05
    assert boat.accumulate(boat.sgd(0.1), three).init(np.zeros(2))["count"] == 0
    unrolling = boat.unroll(lambda t, z, x: 0.5 * z, np.ones(2, "float32"), np.ones(2, "float32"), three)
    assert unrolling.iterate(np.int64(1)).numpy().tolist() == [0.5, 0.5]
    for t in (1.5, "1", True):
        with pytest.raises(boat.OptionError, match="iterate: expected t from 0 to 3"):
            unrolling.iterate(t)
    gradient = boat.grad(lambda a, b: (a * b).sum(), np.int64(1))(np.ones(2, "float32"), np.ones(2, "float32"))
    assert gradient.numpy().tolist() == [1, 1]
    for place in (2, "a", 0.5):
        with pytest.raises(boat.StructureError, match="expected an argument"):
            boat.grad(lambda a, b: (a * b).sum(), place)(np.ones(2, "float32"), np.ones(2, "float32"))
    double = boat.es_grad(samples=three, argnums=[np.int64(0)])(lambda a: (a * a).sum())
    assert double(np.ones(2, "float32")).numel() == 1
