"""The picture of one hypergradient: its operations, its lower steps, then variables, memory and operators."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from boat_core import HypergradientGraph, OptionError, Solver

from .sheet import (
    BACK,
    GRAPH,
    GREY,
    INK,
    LOWER,
    PALE,
    PLAIN,
    RESULT,
    UPPER,
    Line,
    Sheet,
    check_place,
    heading,
    quiet,
    shortened,
    stack,
    titled,
    wrapped,
)
from .steps import MARGIN, STARTS, WIDTH, Columns, Spans, draw_steps, summary
from .text import bytes_text, count, figure

#: An entry of `HypergradientGraph.stages`.
Stage = Any

MOST_LEAVES, MOST_OPERATORS = 8, 36


def draw(
    graph: HypergradientGraph | Solver,
    path: str | Path,
    *,
    lower_batch: Any = None,
    upper_batch: Any = None,
    tasks: Any = None,
) -> Path:
    """Draw a hypergradient with matplotlib. See `boat_core.draw`, which calls this function.

    Args:
        graph: the result of `Solver.graph`, or a solver, whose hypergradient is then computed.
        path: the file, whose name ends in .svg, .png or .pdf. An existing file is replaced.
        lower_batch, upper_batch, tasks: the data for a solver, as `Solver.graph` takes them.

    Returns:
        The path of the file.

    Raises:
        OptionError: the suffix of the file is another one, or there are batches beside a graph.
        RunError: the folder does not exist, or the file cannot be written.
        Errors of `Solver.graph`, if a solver is given. In each case nothing is written.
    """
    place = check_place(path)
    batches = {"lower_batch": lower_batch, "upper_batch": upper_batch, "tasks": tasks}
    if not isinstance(graph, HypergradientGraph):
        if not isinstance(graph, Solver):
            raise OptionError(f"graph: expected a HypergradientGraph or a Solver (got {type(graph).__name__})")
        graph = graph.graph(**batches)
    elif names := [name for name, batch in batches.items() if batch is not None]:
        raise OptionError(f"{names[0]}: expected none beside a HypergradientGraph, which has been computed")
    lay_out(graph).write(place)
    return place


def lay_out(graph: HypergradientGraph) -> Sheet:
    """Return the sheet with everything that is to be drawn."""
    with quiet():
        return _lay_out(graph)


def _lay_out(graph: HypergradientGraph) -> Sheet:
    columns = Columns(graph.trajectory) if graph.trajectory else None
    sheet = Sheet(max(WIDTH, columns.least_width if columns else 0))
    y = _header(sheet, graph, MARGIN)
    y = _cards(sheet, graph.stages, y + 14)
    y = draw_steps(sheet, graph, columns, y + 22) if columns else _own_way(sheet, graph, y + 22)
    sheet.height = _panels(sheet, graph, y + 26) + MARGIN
    return sheet


def _header(sheet: Sheet, graph: HypergradientGraph, y: float) -> float:
    room = sheet.width - 2 * MARGIN
    work = [
        f"T = {graph.lower_steps}",
        count(graph.gradients, "gradient"),
        count(graph.hvps, "product") + " with second derivatives",
    ]
    of_task = f", task {graph.task} of {graph.tasks}" if graph.task else ""
    what = "direction for x" if graph.stages[-1].role == "method" else "hypergradient"
    facts = [f"one {what} at outer step {graph.iteration}{of_task}", *work]
    lines: list[Line] = [
        (shortened(f"{graph.problem}: {graph.solver}", room, 15, True), {"size": 15, "bold": True}),
        (", ".join(facts), {"size": 9.5, "color": GREY}),
    ]
    for concern in graph.concerns:
        lines += [(line, {"size": 9.5, "color": RESULT[0]}) for line in wrapped(concern, room, 9.5)]
    return stack(sheet, MARGIN, y, lines)


# One card for each operation


def _cards(sheet: Sheet, stages: Sequence[Stage], y: float) -> float:
    """Draw the cards in rows of at most four, numbered in the order in which the operations act."""
    gap = 24.0
    in_a_row = math.ceil(len(stages) / math.ceil(len(stages) / 4))
    width = min(320.0, (sheet.width - 2 * MARGIN - (in_a_row - 1) * gap) / in_a_row)
    for first in range(0, len(stages), in_a_row):
        row = [_card(number + 1, stages[number], width - 20) for number in range(first, len(stages))[:in_a_row]]
        height = max(sum(1.45 * settings["size"] for _, settings in lines) for lines in row) + 12
        for place, lines in enumerate(row):
            x = MARGIN + place * (width + gap)
            sheet.box(x, y, width, height, edge=PALE, fill="#fafbfc")
            stack(sheet, x + 10, y + 4, lines)
            if place:
                sheet.line((x - gap + 2, y + height / 2), (x - 2, y + height / 2))
        y += height + 12
    return y - 12


def _card(number: int, stage: Stage, room: float) -> list[Line]:
    lines: list[Line] = [
        (f"{number}. {stage.stage}, {stage.role}", {"size": 7.5, "color": GREY}),
        (shortened(stage.name, room, 12, True), {"size": 12, "bold": True}),
    ]
    lines += [(line, {"size": 8.5}) for line in wrapped(stage.formula, room)]
    small: list[tuple[str, str]] = []
    if stage.done_by != stage.name:
        small.append((f"done by {stage.done_by}, which has an adjoint of its own", INK))
    if stage.options:
        small.append((f"options: {_figures(stage.options)}", GREY))
    if stage.report:
        small.append((f"reported: {_figures(stage.report)}", BACK[0]))
    small.append((f"{stage.distribution} {stage.version}", GREY))
    for text, color in small:
        lines += [(line, {"size": 7.5, "color": color}) for line in wrapped(text, room, 7.5)]
    return lines


def _figures(figures: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={figure(value)}" for name, value in figures.items())


# Operations that use no trajectory


def _own_way(sheet: Sheet, graph: HypergradientGraph, y: float) -> float:
    """Draw one operation that takes x and y, computes a direction for x, and moves y."""
    acting = next(stage for stage in graph.stages if stage.done_by == stage.name and stage.role in ("base", "method"))
    y = heading(sheet, MARGIN, y, "one outer step in its own way: no trajectory is held") + 12
    left, middle, right = MARGIN, MARGIN + 226, sheet.width - MARGIN - 190
    width = right - middle - 76
    first_order = acting.role == "method"
    result = "direction for x" if first_order else "hypergradient"
    lines = [acting.name, *wrapped(acting.summary, width - 16, 7), count(graph.lower_steps, "lower step")]
    rows = [
        (UPPER, ["x", summary(graph.upper)], RESULT, [result, f"norm {figure(graph.norm)}"]),
        (LOWER, ["y", summary(graph.lower)], LOWER, ["the next y", summary(graph.lower)]),
    ]
    if acting.carries:
        rows.append((PLAIN, ["its own state", "from the last outer step"], PLAIN, ["its own state", "for the next"]))
    height = 50.0 * len(rows) - 14
    titled(sheet, middle, y, width, height, BACK, lines)
    for place, (input_color, inputs, output_color, outputs) in enumerate(rows):
        at = y + 50 * place
        titled(sheet, left, at, 150, 36, input_color, inputs)
        titled(sheet, right, at, 190, 36, output_color, outputs)
        sheet.line((left + 150, at + 18), (middle, at + 18), color=input_color[0])
        sheet.line((middle + width, at + 18), (right, at + 18), color=output_color[0])
    return y + height


# The panels below


def _panels(sheet: Sheet, graph: HypergradientGraph, y: float) -> float:
    room, gap = sheet.width - 2 * MARGIN, 28.0
    widths = [0.29 * (room - 2 * gap), 0.25 * (room - 2 * gap), 0.46 * (room - 2 * gap)]
    ends, x = [], MARGIN
    for panel, width in zip((_variables, _memory, _operators), widths):
        ends.append(panel(sheet, graph, x, y, width))
        x += width + gap
    return max(ends)


def _variables(sheet: Sheet, graph: HypergradientGraph, x: float, y: float, width: float) -> float:
    y, t = heading(sheet, x, y, "variables"), graph.trajectory
    for name, leaves, optimizer, (color, _), more in (
        ("x", graph.upper, graph.upper_optimizer, UPPER, ""),
        ("y", graph.lower, graph.lower_optimizer, LOWER, f", {STARTS[graph.start]}"),
    ):
        lines: list[Line] = [
            (shortened(f"{name}{more}", width, 8.5, True), {"size": 8.5, "bold": True, "color": color})
        ]
        lines += [(shortened(str(leaf), width, 8), {"size": 8}) for leaf in leaves[:MOST_LEAVES]]
        if len(leaves) > MOST_LEAVES:
            lines.append((f"and {count(len(leaves) - MOST_LEAVES, 'array')} more", {"size": 8, "color": GREY}))
        options = ", ".join(f"{key} = {figure(value)}" for key, value in optimizer.items() if key != "name")
        learned = ", a function of x" if name == "y" and t and t.learned_optimizer else ""
        moved = f"by {optimizer['name']}{learned}" + (f": {options}" if options else "")
        lines += [(line, {"size": 7.5, "color": GREY}) for line in wrapped(moved, width, 7.5)]
        y = stack(sheet, x, y, lines) + 6
    return y


def _memory(sheet: Sheet, graph: HypergradientGraph, x: float, y: float, width: float) -> float:
    y = heading(sheet, x, y, "held in memory") + 3
    t = graph.trajectory
    if t is None:
        return stack(sheet, x, y, [("no iterates and no graphs", {"size": 8})])
    every = f", one in {t.every}" if t.every > 1 else ""
    dropped = t.steps + 1 - _number(t.kept_iterates) - _number(t.recomputed)
    rows = [
        (LOWER, False, f"{count(_number(t.kept_iterates), 'iterate')} kept{every}"),
        ((LOWER[0], "white"), True, f"{count(_number(t.recomputed), 'iterate')} computed again"),
        *([((PALE, "white"), True, f"{count(dropped, 'iterate')} dropped")] if dropped else []),
        (GRAPH, False, f"{count(_number(t.kept_graphs), 'graph')} kept"),
        (BACK, False, f"{count(_number(t.pulled), 'step')} pulled back"),
        (BACK, True, f"{count(_number(t.rebuilt), 'graph')} built again for that"),
    ]
    for (edge, fill), dashed, text in rows:
        sheet.box(x, y + 2, 18, 9, fill=fill, edge=edge, dashed=dashed)
        y = stack(sheet, x + 25, y, [(shortened(text, width - 25, 8), {"size": 8})], leading=1.7)
    graph_size = bytes_text(t.graph_bytes) if t.graph_bytes else "not known"
    sizes = [
        f"an iterate: {bytes_text(t.iterate_bytes)}",
        f"the graph of a step: {graph_size}",
        f"a pullback holds at once: {count(t.iterates, 'iterate')}, {count(max(1, t.graphs), 'graph')}",
        f"in all {bytes_text(t.bytes)}",
    ]
    return stack(sheet, x, y + 4, [(line, {"size": 8}) for text in sizes for line in wrapped(text, width, 8)])


def _operators(sheet: Sheet, graph: HypergradientGraph, x: float, y: float, width: float) -> float:
    operators = graph.operators
    if operators is None:
        y = heading(sheet, x, y, f"operators of {graph.operators_of}")
        return stack(sheet, x, y, [("not known: no compiler is there to ask Jittor's graph", {"size": 8})])
    dtypes = Counter(dtype for operator in operators for dtype in operator.dtypes)
    common = dtypes.most_common(1)[0][0] if dtypes else ""
    unless = " unless said otherwise" if len(dtypes) > 1 else ""
    total = sum(operator.count for operator in operators)
    y = heading(sheet, x, y, shortened(f"{total} operators of {graph.operators_of}", width, 10.5, True))
    y = stack(sheet, x, y, [(f"{common}{unless}", {"size": 7.5, "color": GREY})])
    lines = []
    for operator in operators[:MOST_OPERATORS]:
        shapes = " ".join(str(list(shape)) for shape in operator.shapes)
        others = [dtype for dtype in dict.fromkeys(operator.dtypes) if dtype != common]
        times = f" ×{operator.count}" if operator.count > 1 else ""
        lines.append(" ".join([operator.name, shapes, *others]) + times)
    if len(operators) > MOST_OPERATORS:
        lines.append(f"and {len(operators) - MOST_OPERATORS} more kinds")
    rows, half = math.ceil(len(lines) / 2), (width - 16) / 2
    ends = []
    for place in range(2):
        part = [(shortened(line, half, 7.5), {"size": 7.5}) for line in lines[place * rows : (place + 1) * rows]]
        ends.append(stack(sheet, x + place * (half + 16), y, part))
    return max(ends)


def _number(spans: Spans) -> int:
    return sum(last - first + 1 for first, last in spans)
