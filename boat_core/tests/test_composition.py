"""The grammar, on toy operations: order, defaults, rules with reasons, enumeration."""

from __future__ import annotations

import pytest

from boat_core import Alias, CompositionError, Cost, compose, solvers
from boat_core.declare.operation import undeclared


def test_order_and_defaults(toys):
    assert str(compose(toys, map=["SUM", "STEP", "OTHER"])) == "OTHER + SUM + STEP | ALL"
    assert str(compose(toys)) == "STEP | ALL"
    assert str(compose(toys, first_order="BOTH")) == "BOTH"


def test_cost_is_the_sum_of_the_declarations(toys):
    assert compose(toys, map=["SUM"]).cost(7) == Cost(gradients=15, hvps=7)


@pytest.mark.parametrize(
    ("chains", "message"),
    [
        ({"map": ["STEPP"]}, "map: no operation 'STEPP'; did you mean 'STEP'?"),
        ({"map": ["ALL"]}, "map: ALL is an operation of stage approximate, not map; valid: OTHER, STEP, SUM"),
        ({"map": ["SUM", "SUM"]}, "map: SUM is listed twice"),
        ({"approximate": ["ALL", "NONE"]}, "approximate: one estimator at most (got ALL, NONE)"),
        ({"approximate": ["HALF"]}, "approximate: HALF needs SUM: half of one is nothing"),
        (
            {"map": ["SUM"], "approximate": ["NONE", "HALF"]},
            "approximate: HALF cannot go with NONE: only the end point is read there",
        ),
        ({"first_order": "BOTH", "map": ["STEP"]}, "first_order is a whole solver: leave out map and approximate"),
        ({"first_order": "STEP"}, "first_order: STEP is an operation of stage map, not first-order; valid: BOTH"),
        ({"method": "X", "map": ["STEP"]}, "method is a whole solver: leave out map, approximate and first_order"),
        ({"method": "X"}, "method: no method 'X'; no installed pack names one"),
        ({"options": {"NONE": {}}}, "options.NONE: 'NONE' is no operation of this solver; valid: ALL, STEP"),
    ],
)
def test_refusals(toys, chains, message):
    with pytest.raises(CompositionError) as caught:
        compose(toys, **chains)
    assert str(caught.value) == message


def test_two_operations_that_claim_the_start_are_refused(toys):
    from boat_core import Operation, sgd

    text = {"stage": "map", "role": "modifier", "summary": "s", "formula": "f", "source": "t"}
    learning = [
        Operation(name=name, start="learned", start_optimizer=lambda options: sgd(0.1), **text)
        for name in ("ONE", "TWO")
    ]
    toys = toys.adding(*learning, distribution="more toys", version="1.0")
    compose(toys, map=["ONE"])
    with pytest.raises(CompositionError, match="ONE cannot go with TWO: one learns the start of y, the other learns"):
        compose(toys, map=["TWO", "ONE"])


def test_who_declares_no_cost_may_take_second_derivatives(toys, changed):
    assert not compose(toys, approximate="NONE").second_order(3)
    assert compose(changed(toys, "NONE", cost=undeclared), approximate="NONE").second_order(3)


def test_enumeration_is_what_the_rules_allow(toys):
    names = [str(s) for s in solvers(toys)]
    # 4 map chains × 2 estimators, HALF with ALL under the 2 chains that have SUM, 1 method
    assert len(names) == len(set(names)) == 4 * 2 + 2 + 1
    for solver in solvers(toys):
        compose(toys, **solver.as_config())


def test_methods_are_aliases_of_chains(toys, changed):
    toys = changed(toys, "ALL", aliases=(Alias("REVERSE", map=("SUM",), approximate=("ALL",)),))
    assert str(compose(toys, method="REVERSE")) == "SUM + STEP | ALL"
    with pytest.raises(CompositionError, match="did you mean 'REVERSE'"):
        compose(toys, method="REVERS")


@pytest.mark.parametrize(
    ("what", "function", "message"),
    [
        (
            "cost",
            lambda options, work: 1 / 0,
            "its cost raised ZeroDivisionError: division by zero",
        ),
        ("cost", lambda options, work: 3, "its cost returned 3, expected Cost"),
        ("view", lambda options, work: None, "its view returned None, expected Work"),
    ],
)
def test_an_invalid_cost_or_view_is_named(toys, changed, what, function, message):
    with pytest.raises(CompositionError) as caught:
        compose(changed(toys, "ALL", **{what: function}), approximate="ALL").cost(3)
    assert str(caught.value) == f"approximate: ALL (toys 1.0): {message}"
