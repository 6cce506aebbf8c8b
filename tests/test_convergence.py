"""Every valid solver converges within its stated number of steps, or behaves as its theory predicts."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from boat_core import compose
from boat_core.testing import QuadraticCase, flat

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"

sys.path.insert(0, str(BENCHMARKS))
try:
    import known_solutions as known
    import solvers
finally:
    sys.path.remove(str(BENCHMARKS))

ALL = list(solvers.solvers())
#: ES takes many steps. What the others of its solvers add is shown to converge with faster estimators.
BY_DAY = ("NGD | ES", "NGD | IAD + ES")


def by_day_or_night(composition):
    slow = str(composition).endswith("ES") and str(composition) not in BY_DAY
    return pytest.param(composition, marks=pytest.mark.nightly) if slow else composition


@pytest.mark.parametrize("composition", [by_day_or_night(c) for c in ALL if str(c) not in solvers.EXCEPTIONS], ids=str)
def test_every_solver_reaches_10_percent_within_its_number_of_steps(composition):
    excess, _ = solvers.converge(composition, solvers.settings(composition).within)
    assert excess[-1] <= solvers.REACHED


def test_exceptions_are_exactly_the_solvers_with_a_theory():
    assert set(solvers.EXCEPTIONS) == {"ALTO"}
    assert all(name in {str(c) for c in ALL} for name in solvers.EXCEPTIONS)


@pytest.mark.parametrize(
    "case",
    [known.Quadratic(0, 4, 3), known.Start(8, 0.05), known.Residual()],
    ids=lambda case: type(case).__name__,
)
def test_the_closed_forms_agree_with_each_other(case):
    """The excess is never negative, and its derivative is the true hypergradient."""
    rng, h = np.random.default_rng(1), 1e-5
    assert all(case.excess(rng.normal(size=case.x.size)) >= -1e-12 for _ in range(20))
    slope = [(case.excess(case.x + h * e) - case.excess(case.x - h * e)) / (2 * h) for e in np.eye(case.x.size)]
    np.testing.assert_allclose(case.hypergradient(), slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("map_chain", [["NGD"], ["GDA", "NGD"]], ids="+".join)
def test_the_ratio_of_iga_grows_as_the_lower_problem_is_solved_better(map_chain):
    composition = compose(map=map_chain, approximate=["IGA"])
    how, ratios = replace(solvers.settings(composition), problem="quadratic"), []
    for steps in (4, 8, 16, 32):
        case = how.case()
        solver = solvers.make_solver(composition, replace(how, lower_steps=steps), case.problem)
        ratios.append(abs(solver.hypergradient().report.operations["IGA"]["ratio"]))
    assert all(later > 1.5 * earlier for earlier, later in pairwise(ratios))


def test_iga_diverges_unless_f_is_one_squared_residual():
    composition = compose(map=["NGD"], approximate=["IGA"])
    how = replace(solvers.settings(composition), problem="quadratic")
    case = how.case()
    solver = solvers.make_solver(composition, how, case.problem)
    for _ in range(5):
        solver.step()
    assert case.excess(flat(solver.upper)) > 10 * case.excess(case.x)


def test_alto_minimises_only_the_direct_part_of_the_upper_objective():
    composition = compose(first_order="ALTO")
    how = solvers.settings(composition)
    case = QuadraticCase(0, 4, 3)
    solver = solvers.make_solver(composition, how, case.problem)
    for k in range(1, 101):
        solver.step()
        if k in (1, 100):
            np.testing.assert_allclose(flat(solver.upper), (1 - how.upper_rate * case.rho) ** k * case.x, rtol=1e-10)


def test_alto_does_not_move_if_the_upper_objective_ignores_x():
    case = known.Start(8, 0.05)
    solver = solvers.make_solver(compose(first_order="ALTO"), solvers.SETTINGS["ALTO"], case.problem)
    for _ in range(3):
        solver.step()
    assert np.array_equal(flat(solver.upper), case.x)


# A subspace of lower minimisers


def test_plain_unrolling_stalls_on_the_counterexample():
    distances, solver = solvers.on_counterexample("NGD | RAD")
    assert np.all(flat(solver.lower["y2"]) == 0.0)
    assert distances[-1] > 1.0
    assert abs(distances[-1] - distances[-50]) < 1e-6


@pytest.mark.parametrize("name", ["GDA + NGD | RAD", "GDA + DM | RAD"])
def test_aggregation_solves_the_counterexample(name):
    distances, _ = solvers.on_counterexample(name)
    assert distances[-1] < 1e-3


def test_a_cold_start_stops_short_on_the_counterexample():
    distances, _ = solvers.on_counterexample("GDA + NGD | RAD", "cold")
    assert distances[-1] > 0.5
    assert abs(distances[-1] - distances[-50]) < 1e-6


# Many isolated lower minima


def test_the_optimistic_solution_is_the_best_of_all_lower_minima():
    case = known.ManyMinima()
    x, k = np.meshgrid(np.linspace(-10, 10, 4001), np.arange(-5, 6))
    y = case.c - x - np.pi / 2 + 2 * np.pi * k
    values = (x - case.a) ** 2 + (y - case.a - case.c) ** 2
    at = np.unravel_index(np.argmin(values), values.shape)
    np.testing.assert_allclose([x[at], y[at]], case.solution, atol=5e-3)


@pytest.mark.parametrize("start", [solvers.START, (-6.0, -6.0), (6.0, 6.0)])
def test_a_value_function_gets_closer_than_unrolling_from_the_same_start(start):
    assert solvers.on_many_minima("NGD | RAD", start)[-1] > 4.0  # a branch off, and branches are π√2 apart
    assert solvers.on_many_minima("PGDO", start)[-1] < 0.1
