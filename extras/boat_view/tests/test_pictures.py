"""The graph and the picture of every kind of solver. Nothing in a picture may lie on anything else."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

import boat_core as boat
from boat_core.testing import network_problem
from boat_view.drawing.picture import lay_out
from boat_view.drawing.sheet import Box, Text, width_of

STEPS = 5
#: kind -> the solver, and what its graph shows: start, T̄, K, the steps pulled back, and by whom.
KINDS = {
    "RAD": (dict(method="RHG"), ("warm", 5, 5, ((0, 4),), ("RAD",))),
    "RGT": (dict(method="T-RHG", options={"RGT": {"last_steps": 2}}), ("warm", 5, 2, ((3, 4),), ("RAD",))),
    "DI": (dict(map="DI"), ("learned", 5, 5, ((0, 4),), ("RAD",))),
    "DI beside CG": (dict(map="DI", approximate="CG"), ("learned", 5, 5, ((0, 4),), ("DI",))),
    "GDA": (dict(method="BDA"), ("warm", 5, 5, ((0, 4),), ("RAD",))),
    "IAD": (dict(method="MAML"), ("upper", 5, 5, ((0, 4),), ("RAD",))),
    "FOA": (dict(method="FOMAML"), ("upper", 5, 5, ((0, 4),), ("RAD",))),
    **{name: (dict(approximate=name), ("warm", 5, 5, (), ())) for name in ("CG", "NS", "FD", "IGA", "ES")},
    "ES-MAML": (dict(method="ES-MAML"), ("upper", 5, 5, (), ())),
}
FROM_X = ("IAD", "FOA", "ES-MAML")
NO_TRAJECTORY = {
    "DM": (dict(map="DM", lower_steps=1), True),
    "sl-BAMM": (dict(method="sl-BAMM", lower_steps=1), True),
    **{name: (dict(first_order=name), False) for name in ("VSO", "VFO", "MESO", "PGDO", "ALTO", "GAFFO")},
}


def graph(of=None, **more):
    settings = dict(lower_steps=STEPS, lower_optimizer=boat.sgd(0.1), upper_optimizer=boat.sgd(0.1), segment=2)
    upper = "start" if of in FROM_X else "weights"
    solver = boat.Solver(network_problem(upper=upper), **(settings | more))
    return solver.graph(*solver.problem.batches(0, None))


@pytest.mark.parametrize("kind", KINDS)
def test_graph_shows_the_trajectory(kind):
    chain, expected = KINDS[kind]
    shown = graph(kind, **chain)
    t = shown.trajectory
    assert (shown.start, t.end, t.kept, t.pulled, t.pulled_by) == expected
    assert (t.from_upper, t.second_derivatives) == (kind in FROM_X, kind != "FOA")
    assert t.kept_graphs == ((3, 4),)
    assert t.rebuilt == (((0, 2),) if t.pulled[:1] == ((0, 4),) else ())
    assert t.recomputed == ()
    around = kind in ("ES", "ES-MAML")
    assert (t.again, t.end_point) == (40 if around else 0, not around)
    assert (shown.hvps == 0) == (around or kind in ("FOA", "FD", "IGA"))
    assert collisions(shown) == []


def test_learned_hyperparameters_are_shown():
    def problem(x, y, batch):
        return (y * y).sum() - (y * x["shift"]).sum()

    solver = boat.Solver(
        boat.Problem(problem, problem, upper={"rate": np.full(1, 0.1), "shift": np.ones(3)}, lower=np.zeros(3)),
        lower_steps=2,
        lower_optimizer=lambda x: boat.sgd(x["rate"]),
        upper_optimizer=boat.sgd(0.1),
    )
    shown = solver.graph()
    assert shown.trajectory.learned_optimizer
    assert shown.lower_optimizer["name"] == "sgd"
    assert collisions(shown) == []


def test_ptt_is_cut_where_its_report_says():
    shown = graph(method="IAPTT")
    reports = {stage.name: stage.report for stage in shown.stages}
    t = shown.trajectory
    assert (t.end, reports["PTT"]["of"]) == (reports["PTT"]["steps"], STEPS)
    shorter = replace(shown, trajectory=replace(t, end=2, kept=2, pulled=((0, 1),), rebuilt=((0, 1),)))
    assert collisions(shorter) == []


@pytest.mark.parametrize("kind", NO_TRAJECTORY)
def test_solver_with_its_own_adjoint_holds_no_trajectory(kind):
    chain, products = NO_TRAJECTORY[kind]
    shown = graph(**chain)
    assert shown.trajectory is None
    if products:
        assert shown.hvps > 0
        assert {stage.done_by for stage in shown.stages if stage.stage == "approximate"} == {"DM"}
        assert [stage.carries for stage in shown.stages if stage.name == "DM"] == [True]
    assert collisions(shown) == []


@pytest.mark.parametrize("steps", [1, 2, 6, 7, 60, 1000])
@pytest.mark.parametrize("segment", [3, "sqrt"])
def test_any_number_of_steps_fits(steps, segment):
    shown = graph(method="RHG", lower_steps=steps, segment=segment)
    t = shown.trajectory
    numbers = {n for spans in (t.kept_iterates, t.recomputed) for first, last in spans for n in range(first, last + 1)}
    assert numbers == set(range(steps + 1))
    cut = replace(t, end=(steps + 1) // 2, kept=min(t.kept, (steps + 1) // 2), pulled=((0, (steps - 1) // 2),))
    for one in (shown, replace(shown, trajectory=cut)):
        assert collisions(one) == []


def test_many_leaves_and_long_words_fit():
    shown, long = graph("IAD", method="FOMAML"), "unbreakable" * 40
    crowded = replace(
        shown,
        problem=f"{long} ∇",
        stages=tuple(replace(s, name=s.name + long, formula=long, report={long: [1.0] * 99}) for s in shown.stages * 2),
        lower=(replace(shown.lower[0], path=long),) * 30,
        operators=tuple(replace(o, name=o.name + long) for o in shown.operators * 9),
        concerns=(long,) * 3,
    )
    assert collisions(crowded) == []


def collisions(graph):
    """Return boxes that overlap, texts that overlap one another or the edge of a box, and what leaves the sheet."""
    sheet = lay_out(graph)
    boxes = [(s.x, s.y, s.x + s.width, s.y + s.height) for s in sheet.shapes if isinstance(s, Box)]
    texts = [(_place(shape), shape.text) for shape in sheet.shapes if isinstance(shape, Text)]
    assert boxes and texts
    page = (0, 0, sheet.width, sheet.height)
    return [
        *((a, b) for a, b in combinations(boxes, 2) if _overlap(a, b)),
        *((a, b) for (a, _), (b, _) in combinations(texts, 2) if _overlap(a, b)),
        *(
            (text, box)
            for place, text in texts
            for box in (*boxes, page)
            if _overlap(place, box) and not _in(place, box)
        ),
        *(place for place in (*boxes, *(place for place, _ in texts)) if not _in(place, page)),
    ]


def _place(text):
    width = width_of(text.text, text.size, text.bold)
    left = text.x - {"left": 0, "center": width / 2, "right": width}[text.align]
    return left, text.y - 0.74 * text.size, left + width, text.y + 0.2 * text.size


def _overlap(a, b):
    return min(a[2], b[2]) - max(a[0], b[0]) > 0.5 and min(a[3], b[3]) - max(a[1], b[1]) > 0.5


def _in(a, b):
    return a[0] >= b[0] and a[1] >= b[1] and a[2] <= b[2] and a[3] <= b[3]
