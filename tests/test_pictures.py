"""The structure and the picture of every kind of solver, and that nothing in a picture lies on anything else."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

import boat_core as boat
from boat_core.drawing.picture import _picture
from boat_core.drawing.sheet import Sheet, width_of
from boat_core.testing import network_problem

STEPS = 5
#: kind -> how it is asked for, and what is to be seen: start, T̄, K, what is pulled back, by whom.
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
ITSELF = {
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
def test_a_trajectory_is_what_it_was(kind, monkeypatch):
    chain, expected = KINDS[kind]
    found = graph(kind, **chain)
    t = found.trajectory
    assert (found.start, t.end, t.kept, t.pulled, t.pulled_by) == expected
    assert (t.from_upper, t.second_derivatives) == (kind in FROM_X, kind != "FOA")
    assert t.kept_graphs == ((3, 4),)
    assert t.rebuilt == (((0, 2),) if t.pulled[:1] == ((0, 4),) else ())
    assert t.recomputed == ()
    around = kind in ("ES", "ES-MAML")
    assert (t.again, t.end_point) == (40 if around else 0, not around)
    assert (found.hvps == 0) == (around or kind in ("FOA", "FD", "IGA"))
    assert collisions(found, monkeypatch) == []


def test_hyperparameters_that_are_upper_variables(monkeypatch):
    def problem(x, y, batch):
        return (y * y).sum() - (y * x["shift"]).sum()

    solver = boat.Solver(
        boat.Problem(problem, problem, upper={"rate": np.full(1, 0.1), "shift": np.ones(3)}, lower=np.zeros(3)),
        lower_steps=2,
        lower_optimizer=lambda x: boat.sgd(x["rate"]),
        upper_optimizer=boat.sgd(0.1),
    )
    found = solver.graph()
    assert found.trajectory.learned_optimizer
    assert found.lower_optimizer["name"] == "sgd"
    assert collisions(found, monkeypatch) == []


def test_ptt_cuts_where_it_says(monkeypatch):
    found = graph(method="IAPTT")
    reports = {stage.name: stage.report for stage in found.stages}
    t = found.trajectory
    assert (t.end, reports["PTT"]["of"]) == (reports["PTT"]["steps"], STEPS)
    shorter = replace(found, trajectory=replace(t, end=2, kept=2, pulled=((0, 1),), rebuilt=((0, 1),)))
    assert collisions(shorter, monkeypatch) == []


@pytest.mark.parametrize("kind", ITSELF)
def test_what_makes_the_hypergradient_itself_holds_no_trajectory(kind, monkeypatch):
    chain, products = ITSELF[kind]
    found = graph(**chain)
    assert found.trajectory is None
    if products:
        assert found.hvps > 0
        assert {stage.done_by for stage in found.stages if stage.stage == "approximate"} == {"DM"}
        assert [stage.carries for stage in found.stages if stage.name == "DM"] == [True]
    assert collisions(found, monkeypatch) == []


@pytest.mark.parametrize("steps", [1, 2, 6, 7, 60, 1000])
@pytest.mark.parametrize("segment", [3, "sqrt"])
def test_any_number_of_steps_fits(steps, segment, monkeypatch):
    found = graph(method="RHG", lower_steps=steps, segment=segment)
    t = found.trajectory
    numbers = {n for spans in (t.kept_iterates, t.recomputed) for first, last in spans for n in range(first, last + 1)}
    assert numbers == set(range(steps + 1))
    cut = replace(t, end=(steps + 1) // 2, kept=min(t.kept, (steps + 1) // 2), pulled=((0, (steps - 1) // 2),))
    for one in (found, replace(found, trajectory=cut)):
        assert collisions(one, monkeypatch) == []


def test_many_leaves_and_long_words_fit(monkeypatch):
    found, long = graph("IAD", method="FOMAML"), "unbreakable" * 40
    crowded = replace(
        found,
        problem=f"{long} ∇",
        stages=tuple(replace(s, name=s.name + long, formula=long, report={long: [1.0] * 99}) for s in found.stages * 2),
        lower=(replace(found.lower[0], path=long),) * 30,
        operators=tuple(replace(o, name=o.name + long) for o in found.operators * 9),
        concerns=(long,) * 3,
    )
    assert collisions(crowded, monkeypatch) == []


def collisions(found, monkeypatch):
    """Boxes that overlap, texts that overlap one another or the edge of a box, and what leaves the sheet."""
    boxes, texts = [], []
    with monkeypatch.context() as patched:
        patched.setattr(
            Sheet, "box", lambda self, x, y, width, height, **_: boxes.append((x, y, x + width, y + height))
        )
        patched.setattr(Sheet, "text", lambda self, *given, **more: texts.append((_place(*given, **more), given[2])))
        sheet, height = _picture(found)
    page = (0, 0, sheet.width, height)
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


def _place(x, y, text, size=8.5, color="", bold=False, align="left"):
    width = width_of(text, size, bold)
    left = x - {"left": 0, "center": width / 2, "right": width}[align]
    return left, y - 0.74 * size, left + width, y + 0.2 * size


def _overlap(a, b):
    return min(a[2], b[2]) - max(a[0], b[0]) > 0.5 and min(a[3], b[3]) - max(a[1], b[1]) > 0.5


def _in(a, b):
    return a[0] >= b[0] and a[1] >= b[1] and a[2] <= b[2] and a[3] <= b[3]
