"""Optimizers: the iterates of PyTorch and optax, and correct derivatives with respect to all inputs of a step.

`optimizer_references.json` holds those iterates, and the problem; `make references` writes it.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import jittor as jt
import numpy as np
import pytest
from optree import tree_map

import boat_core as boat
from boat_core.declare.options import describe_options
from boat_core.optimizers import RULES
from boat_core.testing import assert_close, assert_twice_differentiable, check_optimizer, flat

pytestmark = pytest.mark.usefixtures("single_operators")
REFERENCES = json.loads(Path(__file__).with_name("optimizer_references.json").read_text("utf-8"))
MATRIX, WAVE, START = (np.array(REFERENCES[key]) for key in ("matrix", "wave", "start"))
STEPS = 6

#: Each optimizer with a value for each of its hyperparameters, none of which may be without effect.
HYPERPARAMETERS = {
    "sgd": {"rate": 0.1, "momentum": 0.6, "weight_decay": 0.1},
    "adam": {"rate": 0.1, "beta1": 0.8, "beta2": 0.9, "epsilon": 0.1},
    "adamw": {"rate": 0.1, "beta1": 0.8, "beta2": 0.9, "epsilon": 0.1, "weight_decay": 0.1},
    "adamax": {"rate": 0.1, "beta1": 0.8, "beta2": 0.7, "epsilon": 0.1},
    "radam": {"rate": 0.1, "beta1": 0.8, "beta2": 0.95, "epsilon": 0.1},
    "rmsprop": {"rate": 0.1, "decay": 0.9, "epsilon": 0.1, "momentum": 0.6},
    "adagrad": {"rate": 0.5, "epsilon": 0.1, "initial": 0.2},
    "adadelta": {"rate": 1.0, "decay": 0.9, "epsilon": 0.1},
    "rprop": {"rate": 0.2, "grow": 1.3, "shrink": 0.5, "smallest": 0.12, "largest": 0.4},
    "asgd": {"rate": 0.1, "weight_decay": 0.1, "exponent": 0.7},
    "adan": {"rate": 0.1, "beta1": 0.8, "beta2": 0.7, "beta3": 0.9, "epsilon": 0.1, "weight_decay": 0.1},
    "lion": {"rate": 0.1, "beta1": 0.8, "beta2": 0.9, "weight_decay": 0.1},
}
RULE = {rule.name: rule for rule in RULES}
VARIANTS = {
    **{name: {} for name in RULE},
    "sgd, Nesterov": {"nesterov": True},
    "rmsprop, centred": {"centred": True},
    "adam, AMSGrad": {"amsgrad": True},
}
#: What is piecewise constant: its derivative is 0 wherever it exists.
WITHOUT_EFFECT = {("lion", "beta1")}


def array(values, dtype="float64"):
    return jt.array(np.asarray(values), dtype=dtype)


def make(variant, hyperparameters):
    return RULE[variant.split(",")[0]](**hyperparameters, **VARIANTS[variant])


def values_of(variant):
    return HYPERPARAMETERS[variant.split(",")[0]]


def hyperparameter_arrays(variant, dtype="float64"):
    return {key: array([value], dtype) for key, value in values_of(variant).items()}


def gradient(y, t):
    """Return a nonlinear gradient with entries of both signs that are never small; the last entry is 0."""
    wave, scale, square = ([0.5 * (-1) ** t, 1.0, -2.0, 0.0], [1.0, 0.5, 0.7, 0.0], [0.1, 0.05, 0.07, 0.0])
    wave, scale, square = (array(values, str(y.dtype)) for values in (wave, scale, square))
    return scale * y + square * y * y + wave


def step(optimizer, t, y, state):
    """Take one step and compute all its results, which stay differentiable."""
    updates, state = optimizer.update(gradient(y, t), state, y)
    y = boat.apply_updates(y, updates)
    jt.sync([y, *kept(state)])
    return y, state


def kept(state):
    return [value for value in state.values() if not isinstance(value, int)]


def run(optimizer, start=START, steps=STEPS, dtype="float64"):
    y = array(start, dtype)
    state = optimizer.init(y)
    for t in range(1, steps + 1):
        y, state = step(optimizer, t, y, state)
    return y, state


def test_every_optimizer_has_a_row():
    """Every hyperparameter that varies has a value here, so that the tests below differentiate it."""
    for name, rule in RULE.items():
        varying = {row["name"] for row in describe_options(rule.options) if row["takes"].endswith("may vary")}
        assert set(HYPERPARAMETERS[name]) == varying


@pytest.mark.parametrize("case", REFERENCES["cases"], ids=lambda case: case["name"])
def test_iterates_are_those_of_pytorch_and_optax(case):
    optimizer, recorded = RULE[case["optimizer"]](**case["options"]), []
    y = array(START)
    state = optimizer.init(y)
    for t in range(1, REFERENCES["steps"][-1] + 1):
        g = MATRIX @ y.numpy() + (-1) ** t * WAVE
        updates, state = optimizer.update(array(g), state, y)
        y = boat.apply_updates(y, updates)
        jt.sync([y, *kept(state)])
        if t in REFERENCES["steps"]:
            recorded.append((state["average"] if case["average"] else y).numpy())
    for iterates in case["references"].values():
        assert_close(np.array(recorded), np.array(iterates), 1e-12)


def test_adan_with_weight_decay_agrees_with_its_authors():
    """optax has another formula, PyTorch none."""
    rate, b1, b2, b3, epsilon, decay = 0.1, 0.98, 0.92, 0.99, 1e-8, 0.1
    y, last = START, None
    m, d, n = np.zeros((3, 4))
    for t in range(1, STEPS + 1):
        g = gradient(array(y), t).numpy()
        delta = 0 * g if last is None else g - last
        m, d = b1 * m + (1 - b1) * g, b2 * d + (1 - b2) * delta
        n, last = b3 * n + (1 - b3) * (g + b2 * delta) ** 2, g
        u = (m / (1 - b1**t) + b2 * d / (1 - b2**t)) / (np.sqrt(n / (1 - b3**t)) + epsilon)
        y = (y - rate * u) / (1 + rate * decay)
    assert_close(run(boat.adan(rate, weight_decay=decay))[0], y, 1e-14)


@cache
def derivatives(variant):
    """⟨w, (y, state)⟩ after all steps, differentiated with respect to the start and each hyperparameter.

    The cotangents go back step by step, as through the lower steps of a solver.
    """
    hyper = hyperparameter_arrays(variant)
    optimizer = make(variant, hyper)
    y = array(START)
    ends = [(y, optimizer.init(y))]
    for t in range(1, STEPS + 1):
        y, state = step(optimizer, t, *ends[-1])
        ends.append((y.detach(), {key: v if isinstance(v, int) else v.detach() for key, v in state.items()}))
    p, found = weights(ends[-1]), dict.fromkeys(hyper, 0.0)
    for t in range(STEPS, 0, -1):
        (y, state), leaves = ends[t - 1], list(hyper.values())
        after = step(optimizer, t, y, state)
        total = sum((out * cotangent).sum() for out, cotangent in zip([after[0], *kept(after[1])], p))
        back = [g.detach() for g in jt.grad(total, [y, *kept(state), *leaves])]
        p = back[: 1 + len(kept(state))]
        for key, g in zip(hyper, back[len(p) :]):
            found[key] += g.item()
    return {"start": flat(p[0]), **found}


def weights(end):
    rng = np.random.default_rng(0)
    return [array(rng.normal(size=4)) for _ in [end[0], *kept(end[1])]]


@pytest.mark.parametrize(
    ("variant", "name"), [(variant, name) for variant in VARIANTS for name in ["start", *values_of(variant)]]
)
def test_derivative_through_the_steps(variant, name):
    def value(move):
        hyper = hyperparameter_arrays(variant)
        start = START + move * direction if name == "start" else START
        if name != "start":
            hyper[name] = array([values_of(variant)[name] + move])
        end = run(make(variant, hyper), start)
        return sum(flat(leaf) @ flat(w) for leaf, w in zip([end[0], *kept(end[1])], weights(end)))

    direction, h = np.array([1.0, -0.5, 0.8, 0.3]), 1e-5
    ours = derivatives(variant)[name] @ direction if name == "start" else derivatives(variant)[name]
    assert_close(np.array([ours]), np.array([(value(h) - value(-h)) / (2 * h)]), 1e-7)
    assert (ours == 0) == ((variant, name) in WITHOUT_EFFECT)


def one_step(variant, t, slots):
    """Return a step as a function of arrays: gradient, parameters, arrays of the state, hyperparameters."""

    def function(g, y, *others):
        state = dict(zip(slots, others))
        hyper = dict(zip(values_of(variant), others[len(slots) :]))
        if "count" in make(variant, values_of(variant)).init(y):
            state["count"] = t - 1
        updates, state = make(variant, hyper).update(g, state, y)
        return jt.concat([y + updates, *kept(state)])

    return function


def slots_of(variant):
    return [key for key in make(variant, hyperparameter_arrays(variant)).init(array(START)) if key != "count"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_second_derivatives_of_a_step(variant):
    rng, slots = np.random.default_rng(0), slots_of(variant)
    state = [rng.uniform(0.5, 1.5, size=4) for _ in slots]
    hyper = [np.array([value]) for value in values_of(variant).values()]
    g = array([0.7, -1.2, 2.0, -3.0])
    assert_twice_differentiable(one_step(variant, 9, slots), g, array(START), *state, *hyper)


def boundaries():
    """Yield the default options, and each option at its smallest allowed value."""
    for variant in VARIANTS:
        rows = {row["name"]: row for row in describe_options(RULE[variant.split(",")[0]].options)}
        defaults = {key: rows[key].get("default", value) for key, value in values_of(variant).items()}
        yield variant, defaults
        yield variant, {key: 0.0 if ">= 0" in rows[key]["takes"] else value for key, value in defaults.items()}


@pytest.mark.fused  # the compiler may turn a division and a square root into one of its own
@pytest.mark.parametrize(("variant", "values"), list(boundaries()))
def test_derivatives_at_zero_gradients_are_finite(variant, values):
    slots, rng = slots_of(variant), np.random.default_rng(0)
    inputs = [array(np.zeros(4)), array(START), *(array(np.zeros(4)) for _ in slots)]
    inputs += [array([value]) for value in values.values()]
    for t in (1, 2, 9):
        out = one_step(variant, t, slots)(*inputs)
        first = jt.grad((out + out * out).sum(), inputs, retain_graph=True)
        second = jt.grad(sum((g * array(rng.normal(size=g.shape))).sum() for g in first), inputs)
        jt.sync([out, *first, *second])
        assert np.isfinite(flat([out, *first, *second])).all()
        inputs[2 : 2 + len(slots)] = [out.detach()[4 * k : 4 * k + 4] for k in range(1, len(slots) + 1)]


def test_adam_differentiates_at_a_zero_gradient():
    """g / (|g| + ε) has the derivative 1/ε at 0; a bare square root would make it NaN."""
    g = jt.zeros((2,), dtype="float64")
    optimizer = boat.adam(rate=1.0, epsilon=1e-2)
    updates, _ = optimizer.update(g, optimizer.init(g), g)
    assert_close(jt.grad(updates.sum(), g), [-100.0, -100.0], 1e-12)


@pytest.mark.parametrize("variant", VARIANTS)
def test_hyperparameters_may_be_arrays_in_either_dtype(variant):
    values = {row["name"]: row.get("default") for row in describe_options(RULE[variant.split(",")[0]].options)}
    values = {key: values[key] or value for key, value in values_of(variant).items()}
    for dtype, tolerance in (("float64", 1e-14), ("float32", 1e-5)):
        y, state = run(make(variant, values), dtype=dtype)
        same, _ = run(make(variant, {key: array([value]) for key, value in values.items()}), dtype=dtype)
        assert {str(leaf.dtype) for leaf in [y, same, *kept(state)]} == {dtype}
        assert_close(same, y, tolerance)


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_coordinate_may_have_its_own_hyperparameter(variant):
    factors = 1 - 0.05 * np.arange(4)
    each = {key: array(value * factors) for key, value in values_of(variant).items()}
    together = run(make(variant, each))[0].numpy()
    for place in (1, 2):
        alone = {key: array([value * factors[place]]) for key, value in values_of(variant).items()}
        assert_close(together[place], run(make(variant, alone))[0].numpy()[place], 1e-14)


def test_a_pytree_of_rates_for_a_pytree_of_parameters():
    y = {"a": array(START), "b": array(2 * START)}
    rates = {"a": array(0.1 * START**2), "b": array([0.3])}
    optimizer = boat.lion(rates, weight_decay=1.0)
    updates, state = optimizer.update(y, optimizer.init(y), y)
    assert_close(updates["a"], -0.1 * START**2 * (np.sign(START) + START), 1e-15)
    assert_close(updates["b"], -0.3 * (np.sign(START) + 2 * START), 1e-15)
    assert set(state) == {"m"}


@pytest.mark.parametrize("rate", [lambda k: 0.1 / (1 + k), lambda k: array([0.1 / (1 + k)])], ids=["number", "array"])
def test_a_hyperparameter_may_be_a_function_of_the_step(rate):
    optimizer, y = boat.sgd(rate), array(START)
    state = optimizer.init(y)
    for k in range(3):
        updates, state = optimizer.update(array(START), state, y)
        assert_close(updates, -0.1 / (1 + k) * START, 1e-15)
    assert optimizer.plain_rate is optimizer.rate is optimizer.options is None


def test_centred_rmsprop_stays_finite_in_float32():
    """The mean of squares less the square of the mean would become negative by rounding."""
    optimizer, g = boat.rmsprop(centred=True, epsilon=1e-12), array([1.0, 0.3, -7.0, 0.0], "float32")
    state = optimizer.init(g)
    for _ in range(300):
        updates, state = optimizer.update(g, state, g)
        jt.sync([updates, *kept(state)])
    assert np.isfinite(updates.numpy()).all()


def test_asgd_averages_from_a_step_on():
    optimizer, y = boat.asgd(0.1, start=3), array(START)
    state, seen = optimizer.init(y), []
    for t in range(1, STEPS + 1):
        y, state = step(optimizer, t, y, state)
        seen.append(y.numpy())
        assert_close(state["average"], np.mean(seen[2:] or seen[-1:], axis=0), 1e-14)


def test_radam_turns_adaptive_by_its_threshold():
    """With β₂ = 0.9999, ρ is 4.9996 and then 5.9994 (in float32 4.2 and 5.04); with β₂ = 0.6 it stays below 4."""
    for beta2 in (0.9999, array([0.9999], "float32"), array([0.9999, 0.9999, 0.9999, 0.6], "float32")):
        optimizer, g = boat.radam(1.0, beta1=0.0, beta2=beta2), array([2.0] * 4, "float32")
        state = optimizer.init(g)
        for t in range(1, 7):
            updates, state = optimizer.update(g, state, g)
            assert_close(updates[:3], [-2.0 if t < 6 else -0.008165] * 3, 1e-5)
        last = updates.numpy()[3]
    assert_close(last, -2.0, 1e-6)


def nan_inside():
    return array([0.1, np.nan, 0.1, 0.1])


@pytest.mark.parametrize(
    ("make_one", "message"),
    [
        (lambda: boat.sgd(-1), "sgd.rate: expected a number > 0"),
        (lambda: boat.sgd(float("inf")), "sgd.rate: expected a number > 0"),
        (lambda: boat.sgd(0.1, momentum=1.0), "sgd.momentum: expected a number >= 0 and < 1"),
        (lambda: boat.sgd(0.1, nesterov=True), "sgd.nesterov: expected momentum > 0"),
        (lambda: boat.adam(beta2=1.0), "adam.beta2: expected a number >= 0 and < 1"),
        (lambda: boat.radam(threshold=3.0), "radam.threshold: expected a number >= 4"),
        (lambda: boat.rprop(smallest=2.0, largest=1.0), "rprop.smallest: expected at most largest=1.0"),
        (lambda: boat.rprop(grow=0.9), "rprop.grow: expected a number >= 1"),
        (lambda: boat.asgd(start=0), "asgd.start: expected an integer >= 1"),
        (lambda: boat.adamw(0.1, rate=0.1), "adamw: option 'rate' is given twice"),
        (lambda: boat.adagrad(*[0.1] * 4), "adagrad: expected 3 values at most"),
        (lambda: boat.rmsprop(centered=True), "centered: unknown option.*centred"),
        (lambda: boat.lion(array([0.1, -0.1])), "lion.rate: expected a number > 0 .got -0.1"),
        (lambda: boat.adan(beta3=array([1.0])), "adan.beta3: expected a number >= 0 and < 1"),
        (lambda: boat.adadelta(nan_inside()), "adadelta.rate: expected a number > 0 .got nan"),
        (lambda: boat.adamax({"a": nan_inside()}), "adamax.rate: expected a number > 0 .got nan"),
        (lambda: boat.sgd(array([1], "int32")), "sgd.rate: expected a number > 0, floating-point arrays"),
        (lambda: boat.asgd(start=array([1.0])), "asgd.start: expected an integer >= 1"),
    ],
)
def test_options_out_of_range_are_refused(make_one, message):
    with pytest.raises(boat.OptionError, match=message):
        make_one()


@pytest.mark.parametrize(
    ("optimizer", "state", "error", "message"),
    [
        (boat.sgd(lambda k: -1.0), None, boat.OptionError, "sgd.rate: its schedule at step 0: expected a number >"),
        (boat.sgd(lambda k: lambda j: 1.0), None, boat.OptionError, "its schedule at step 0: .*got a function"),
        (boat.adam(), {}, boat.StructureError, "adam: expected a state that holds 'count', 'm', 'v' .got nothing"),
        (boat.adam(), boat.sgd(0.1, 0.9), boat.StructureError, "adam: expected a state that holds .*got 'momentum'"),
        (boat.rprop(), {"count": 0.5, "size": 0, "sign": 0}, boat.StructureError, "expected an integer .got 0.5"),
        (boat.lion(), {"m": np.zeros(4)}, boat.StructureError, r"lion: state\['m'\]: expected the structure"),
        (
            boat.lion(),
            {"m": {"b": np.zeros(3)}},
            boat.StructureError,
            r"\['b'\]: expected shape \[4\] .got \[3\]",
        ),
        (boat.lion(np.full(3, 0.1)), None, boat.StructureError, r"lion.rate: .*broadcasts to shape \[4\] .got \[3\]"),
        (boat.lion({"a": np.ones(4)}), None, boat.StructureError, "lion.rate: expected a number, an array or a pytree"),
    ],
)
def test_step_refuses_invalid_states_and_gradients(optimizer, state, error, message):
    y = {"b": array(START)}
    if state is None or isinstance(state, boat.Optimizer):
        state = (state or optimizer).init(y)
    with pytest.raises(error, match=message):
        optimizer.update(y, state, y)


def test_only_plain_sgd_has_a_plain_rate():
    assert boat.sgd(0.1).plain_rate == 0.1
    assert boat.sgd(0.1, momentum=0.5).plain_rate is boat.adam().plain_rate is None
    assert {rule(0.1).rate for rule in RULES} == {0.1}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_our_optimizers_pass_the_kit(rule):
    check_optimizer(rule(rate=0.1))


def test_chains_pass_the_kit():
    check_optimizer(boat.chain(boat.clip_by_norm(1.0), boat.accumulate(boat.adam(0.1), 2)))


def bad_update(change):
    def update(g, state, y):
        return change(tree_map(lambda a: a * array([-0.1], str(a.dtype)), g), g, y), state

    return boat.Optimizer("bad", lambda y: {}, update)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda u, g, y: tree_map(lambda a: (a * a).sqrt(), u), "zero gradient"),
        (lambda u, g, y: tree_map(lambda a: a.float32().cast("float64"), u), "relative error"),
        (lambda u, g, y: tree_map(lambda a: a.detach(), u), "relative error"),
        (lambda u, g, y: {**u, "b": array([-0.1], str(y["b"].dtype)) * y["b"]}, "NaN is lost"),
        (lambda u, g, y: tree_map(lambda a: a.cast("float64"), u), "updates of .*float64, expected .*float32"),
        (lambda u, g, y: tree_map(lambda a: a + jt.rand(a.shape).cast(str(a.dtype)), u), "relative error|differ"),
    ],
)
def test_faulty_optimizers_fail_the_kit(change, message):
    with pytest.raises((AssertionError, boat.BoatError), match=message):
        check_optimizer(bad_update(change))


@pytest.mark.fused
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("size", [4, 1000])
def test_nan_gradient_is_not_lost(rule, size):
    """This holds for vectorised kernels too. An optimizer that uses signs alone has no other trace of a NaN."""
    values = np.where(np.arange(size) == 1, np.nan, 1.0)
    g, y = jt.array(values, dtype="float64"), jt.ones((size,)).cast("float64")
    optimizer = rule(rate=0.1)
    updates, _ = optimizer.update(g, optimizer.init(y), y)
    assert np.array_equal(np.isnan(updates.numpy()), np.isnan(values))
