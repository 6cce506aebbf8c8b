"""No graph outlives its step: a process does not grow while a solver runs."""

from __future__ import annotations

import gc

import pytest

import boat_core as boat
from boat_core.testing import network_problem


def resident():
    """Kilobytes of this process in memory."""
    gc.collect()
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


@pytest.mark.parametrize(
    "chains",
    [
        pytest.param(  # segments of RAD-sqrt keep graphs as well
            {"approximate": "RAD", "segment": "all", "lower_optimizer": boat.sgd(0.01, momentum=0.5)},
            marks=pytest.mark.nightly,
        ),
        {"approximate": "RAD", "segment": "sqrt", "lower_optimizer": boat.adam(0.001), "lower_state": "carry"},
        {"approximate": "CG", "options": {"CG": {"max_iterations": 3, "damping": 1.0}}},
        {"first_order": "BOME"},
    ],
    ids=lambda chains: chains.get("first_order") or f"{chains['approximate']}-{chains.get('segment', 'auto')}",
)
def test_memory_does_not_grow_over_a_thousand_outer_steps(chains):
    problem = network_problem()
    batches = problem.batches(0, None)
    settings = {"lower_steps": 4, "lower_optimizer": boat.sgd(0.01), "upper_optimizer": boat.adam(0.001)}
    if "first_order" in chains:
        chains = {"method": chains["first_order"]}
    solver = boat.Solver(problem, **(settings | chains))
    for _ in range(100):
        solver.step(*batches)
    before = resident()
    for _ in range(1000):
        solver.step(*batches)
    assert resident() < 1.01 * before
