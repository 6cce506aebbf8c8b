"""The lower steps as a drawing: forward, back, and into the estimator.

y_0 → step 0 → y_1 → … → y_T        forward, under x
                           F        at the end that the estimator sees
p_0 ← pullback ← p_1 ← … ← p_T      backward, where there is a pullback
          dx_t                      summed up for the estimator
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from boat_core import HypergradientGraph

from .sheet import (
    BACK,
    ESTIMATOR,
    GRAPH,
    GREY,
    LOWER,
    PALE,
    PLAIN,
    RESULT,
    TITLE,
    UPPER,
    Sheet,
    heading,
    titled,
    width_of,
    wrapped,
)
from .text import figure

#: Steps or iterates as (first, last) pairs, both ends included.
Spans = tuple[tuple[int, int], ...]
#: The types of `HypergradientGraph.trajectory`, and of an entry of `HypergradientGraph.upper`.
LowerSteps = Any
Leaf = Any

#: The margin of the sheet, and its least width.
MARGIN, WIDTH = 28.0, 980.0
#: Up to this number each step is drawn. Of more steps the first, the last, and those where something changes are.
ALL_STEPS = 6

#: The rule by which y starts, in words.
STARTS = {"warm": "warm start", "cold": "cold start", "upper": "y_0 = x", "learned": "learned start"}


@dataclass(frozen=True)
class _Column:
    """Steps `first` … `last`, drawn as one, and y_{last+1} after them: one step, or many that are alike."""

    first: int
    last: int
    x: float
    width: float

    @property
    def centre(self) -> float:
        return self.x + self.width / 2

    @property
    def steps(self) -> int:
        return self.last - self.first + 1


class Columns:
    """The steps that are drawn, and their places."""

    GAP = 13.0
    LEFT, RIGHT = MARGIN + 55.0, 40.0 + 220.0  # the centre of y_0, and the room for the estimator

    def __init__(self, t: LowerSteps) -> None:
        self.trajectory = t
        stretches = self._stretches(t)
        one = max(66.0, width_of(f"pullback {t.steps - 1}", TITLE, True) + 12)
        many = max(112.0, width_of(f"… {t.steps} pullbacks …", TITLE, True) + 12)
        self.iterate_width = max(42.0, width_of(f"y_{t.steps}", 8.5) + 12)
        widths = [one if first == last else many for first, last in stretches]
        least = sum(widths) + len(widths) * (self.iterate_width + 2 * self.GAP)
        self.least_width = self.LEFT + self.iterate_width / 2 + least + self.RIGHT + MARGIN
        # A few steps get more room between them.
        self.gap = self.GAP + min(30.0, max(0.0, WIDTH - self.least_width) / (2 * len(widths)))
        self.columns: list[_Column] = []
        #: The right edge of the last iterate.
        self.right = self.LEFT + self.iterate_width / 2
        for (first, last), width in zip(stretches, widths):
            self.columns.append(_Column(first, last, self.right + self.gap, width))
            self.right += width + 2 * self.gap + self.iterate_width

    @staticmethod
    def _stretches(t: LowerSteps) -> list[tuple[int, int]]:
        """Return the steps that are drawn alone, and between them the stretches that are drawn as one.

        All steps of a stretch are alike, except that with checkpoints only some of their iterates are kept.
        """
        changes = {step for spans in (t.pulled, t.rebuilt, t.kept_graphs) for a, b in spans for step in (a, b + 1)}
        alone = {0, t.end, t.steps - 1, *changes} | ({t.every} if t.every > 1 else set())
        alone = set(range(t.steps)) if t.steps <= ALL_STEPS else {step for step in alone if step < t.steps}
        stretches, after = [], 0
        for step in sorted(alone):
            if after < step:
                stretches.append((after, step - 1))
            stretches.append((step, step))
            after = step + 1
        return stretches

    def iterate(self, t: int) -> float:
        """Return the centre of y_t, which must be one that is drawn."""
        if t == 0:
            return self.LEFT
        column = next(c for c in self.columns if c.last == t - 1)
        return column.x + column.width + self.gap + self.iterate_width / 2


def draw_steps(sheet: Sheet, graph: HypergradientGraph, columns: Columns, y: float) -> float:
    """Draw the lower steps from y. Return where they end."""
    t = columns.trajectory
    y = heading(sheet, MARGIN, y, "the lower steps")
    top, row = y + 27, y + 87
    last = columns.columns[-1]
    titled(sheet, MARGIN, top - 17, 110, 34, UPPER, ["x", summary(graph.upper)])
    sheet.line((MARGIN + 110, top), (last.centre, top), color=UPPER[0], head=False)
    for column in columns.columns:
        sheet.line((column.centre, top), (column.centre, row - 20), color=UPPER[0])
        _step(sheet, t, column, row)
        before, after = columns.iterate(column.first), columns.iterate(column.last + 1)
        half = columns.iterate_width / 2
        sheet.line((before + half, row), (column.x, row), color=LOWER[0])
        sheet.line((column.x + column.width, row), (after - half, row), color=LOWER[0])
    for number in [0, *(column.last + 1 for column in columns.columns)]:
        _iterate(sheet, columns, number, row)
    if t.from_upper:
        sheet.line((columns.LEFT, top + 17), (columns.LEFT, row - 14), color=UPPER[0])
    sheet.text(columns.LEFT, row + 26, STARTS[graph.start], 7, LOWER[0], align="center")
    if t.end < t.steps:
        beyond = columns.iterate(t.end) + columns.iterate_width
        sheet.text(beyond, row + 46, f"beyond y_{t.end}: computed, and left out of what follows", 7.5, GREY)
    # F at the end of the trajectory that the estimator sees.
    at, end, right = row + 62, columns.iterate(t.end), columns.right + 40
    if t.end_point or t.pulled:
        named = f"F(x, y_{t.end})"
        half = max(36.0, width_of(named) / 2 + 6)
        sheet.line((end, row + 14), (end, at - 13), color=LOWER[0])
        titled(sheet, end - half, at - 13, 2 * half, 26, RESULT, [named])
    if t.end_point:
        sheet.line((end + half, at), (right, at), color=RESULT[0])
    if t.again:
        sheet.line((last.centre, top), (right + 110, top), (right + 110, at - 17), color=UPPER[0])
    estimated, bottom = _pullback(sheet, graph, columns, at, right) if t.pulled else (at, at)
    return max(bottom, _estimator(sheet, graph, right, at, estimated))


def _step(sheet: Sheet, t: LowerSteps, column: _Column, row: float) -> None:
    kept = _within(t.kept_graphs, column.first)
    state = "graph kept" if kept else "no graph kept"
    if column.steps == 1:
        lines = [f"step {column.first}", state]
    else:
        lines = [f"… {column.steps} steps …", f"{column.first} to {column.last}", state]
    titled(sheet, column.x, row - 20, column.width, 40, GRAPH if kept else PLAIN, lines)
    if column.steps > 1:
        states = _iterates(t, column.first + 1, column.last)
        sheet.text(column.centre, row + 31, states, 7, LOWER[0], align="center")


def _iterates(t: LowerSteps, first: int, last: int) -> str:
    """Say what became of the iterates that are not drawn."""
    total = last - first + 1
    kept, again = (
        sum(max(0, min(b, last) - max(a, first) + 1) for a, b in spans) for spans in (t.kept_iterates, t.recomputed)
    )
    states = [(kept, "kept"), (again, "recomputed"), (total - kept - again, "dropped")]
    present = [(number, state) for number, state in states if number > 0]
    if len(present) > 1:
        return "iterates: " + ", ".join(f"{number} {state}" for number, state in present)
    return f"y_{first} {present[0][1]}" if total == 1 else f"iterates {present[0][1]}"


def _iterate(sheet: Sheet, columns: Columns, number: int, row: float) -> None:
    t, x = columns.trajectory, columns.iterate(number) - columns.iterate_width / 2
    kept = _within(t.kept_iterates, number)
    edge = LOWER[0] if kept or _within(t.recomputed, number) else PALE
    fill = LOWER[1] if kept else "white"
    titled(sheet, x, row - 13, columns.iterate_width, 26, (edge, fill), [f"y_{number}"], dashed=not kept)


def _pullback(
    sheet: Sheet, graph: HypergradientGraph, columns: Columns, at: float, right: float
) -> tuple[float, float]:
    """Draw the way back. Return where its sum enters the estimator, and where the drawing ends."""
    t = columns.trajectory
    row, half = at + 58, columns.iterate_width / 2
    bus = row + 50
    first, last = t.pulled[0][0], t.pulled[-1][1] + 1
    estimates = graph.stages[-1].name in t.pulled_by
    sums = t.second_derivatives or t.learned_optimizer
    start, end = columns.iterate(first), columns.iterate(last)
    sheet.line((end, at + 13), (end, row - 13), color=BACK[0])
    sheet.text(end + 6, at + 28, "∇_y F", 7.5, BACK[0])
    pulled = [column for column in columns.columns if first <= column.first and column.last < last]
    for column in pulled:
        again = _within(t.rebuilt, column.first)
        state = "graph rebuilt" if again else "kept graph"
        title = f"pullback {column.first}" if column.steps == 1 else f"… {column.steps} pullbacks …"
        titled(sheet, column.x, row - 17, column.width, 34, BACK, [title, state], dashed=again)
        before, after = columns.iterate(column.first), columns.iterate(column.last + 1)
        sheet.line((after - half, row), (column.x + column.width, row), color=BACK[0])
        sheet.line((column.x, row), (before + half, row), color=BACK[0])
        if sums and estimates:
            sheet.line((column.centre, row + 17), (column.centre, bus), color=BACK[0])
            named = f"dx_{column.first}" if column.steps == 1 else f"{column.steps} dx_t"
            sheet.text(column.centre + 5, row + 35, named, 7.5, BACK[0])
    for number in [first, *(column.last + 1 for column in pulled)]:
        titled(sheet, columns.iterate(number) - half, row - 13, columns.iterate_width, 26, BACK, [f"p_{number}"])
    if estimates and t.from_upper:
        sheet.line((start, row + 13), (start, bus), color=BACK[0])
        sheet.text(start + 5, row + 35, "y_0 = x", 7.5, BACK[0])
    terms = ["Σ_t dx_t"] * sums + ["p_0"] * t.from_upper
    if estimates and terms:
        sheet.line((start if t.from_upper else pulled[0].centre, bus), (right, bus), color=BACK[0])
        sheet.text(right - 8, bus - 5, " + ".join(terms), 7.5, BACK[0], align="right")
    below = bus
    if graph.start == "learned" and first == 0:
        titled(sheet, MARGIN, bus + 18, 110, 34, LOWER, ["the next y_0", "is moved along p_0"])
        sheet.line((start, row + 13), (start, bus + 18), color=BACK[0])
        below = bus + 52
    alone = ", for the start alone" if graph.start == "learned" else ""
    notes = [] if estimates else [f"by {', '.join(t.pulled_by)}{alone}"]
    if t.kept < t.end:
        notes.append(f"{t.kept} of {t.end} steps are pulled back")
    if not t.second_derivatives:
        notes.append("∇²ψ counts as zero" + ("" if sums else ": there is no dx_t"))
    if notes:
        sheet.text(end + half, bus + 16, "; ".join(notes), 7.5, BACK[0], align="right")
        below = max(below, bus + 18)
    return (bus if estimates and terms else at), below


def _estimator(sheet: Sheet, graph: HypergradientGraph, x: float, at: float, bottom: float) -> float:
    """Draw the estimator beside the lower steps, as high as its inputs need, and its result below it."""
    stage, t, width = graph.stages[-1], graph.trajectory, 220.0
    lines = [stage.name, *wrapped(stage.summary, width - 16, 7)]
    if t is not None and t.again:
        lines.append("one more trajectory" if t.again == 1 else f"{t.again} more trajectories")
    height = max(bottom - at + 34, 11.0 * len(lines) + 18)
    titled(sheet, x, at - 17, width, height, ESTIMATOR, lines)
    below = at - 17 + height
    sheet.line((x + width / 2, below), (x + width / 2, below + 20), color=RESULT[0])
    titled(sheet, x, below + 20, width, 36, RESULT, ["hypergradient", f"norm {figure(graph.norm)}"])
    return below + 56


def summary(leaves: Sequence[Leaf]) -> str:
    """Return the only leaf as text, or the number of leaves."""
    return str(leaves[0]) if len(leaves) == 1 else f"{len(leaves)} arrays"


def _within(spans: Spans, number: int) -> bool:
    return any(first <= number <= last for first, last in spans)
