"""The grammar, on toy operations: order, defaults, rules with reasons, enumeration."""

from __future__ import annotations

import pytest

from boat_core import Alias, CompositionError, Cost
from boat_core.composition import compose, enumerate_solvers


def test_order_and_defaults(toys):
    assert str(compose(toys, map=["SUM", "STEP", "OTHER"])) == "OTHER + SUM + STEP | ALL"
    assert str(compose(toys)) == "STEP | ALL"
    assert str(compose(toys, first_order="BOTH")) == "BOTH"


def test_cost_is_the_sum_of_the_declarations(toys):
    assert compose(toys, map=["SUM"]).cost(7) == Cost(gradients=15, hvps=7)


@pytest.mark.parametrize(
    ("chains", "message"),
    [
        ({"map": ["STEPP"]}, "no operation 'STEPP'; did you mean 'STEP'?"),
        ({"map": ["ALL"]}, "ALL is an operation of stage approximate, not map; valid: OTHER, STEP, SUM"),
        ({"map": ["SUM", "SUM"]}, "map: SUM stands there twice"),
        ({"approximate": ["ALL", "NONE"]}, "approximate: one estimator at most (got ALL, NONE)"),
        ({"approximate": ["HALF"]}, "HALF needs SUM: half of one is nothing"),
        (
            {"map": ["SUM"], "approximate": ["NONE", "HALF"]},
            "HALF cannot go with NONE: only the end point is read there",
        ),
        ({"first_order": "BOTH", "map": ["STEP"]}, "first_order is a whole solver: leave out map and approximate"),
        ({"first_order": "STEP"}, "STEP is an operation of stage map, not first-order; valid: BOTH"),
        ({"method": "X", "map": ["STEP"]}, "method is a whole solver: leave out map, approximate and first_order"),
        ({"method": "X"}, "no method 'X'; no installed pack names one"),
        ({"options": {"NONE": {}}}, "options: 'NONE' is no operation of this solver; valid: ALL, STEP"),
    ],
)
def test_refusals(toys, chains, message):
    with pytest.raises(CompositionError) as caught:
        compose(toys, **chains)
    assert str(caught.value) == message


def test_enumeration_is_what_the_rules_allow(toys):
    solvers = [str(s) for s in enumerate_solvers(toys)]
    # 4 map chains × 2 estimators, HALF with ALL under the 2 chains that have SUM, 1 method
    assert len(solvers) == len(set(solvers)) == 4 * 2 + 2 + 1
    for solver in enumerate_solvers(toys):
        compose(toys, **solver.as_config())


def test_methods_are_aliases_of_chains(toys):
    entry = toys.find("ALL")
    object.__setattr__(entry.operation, "aliases", (Alias("REVERSE", map=("SUM",), approximate=("ALL",)),))
    assert str(compose(toys, method="REVERSE")) == "SUM + STEP | ALL"
    with pytest.raises(CompositionError, match="did you mean 'REVERSE'"):
        compose(toys, method="REVERS")
