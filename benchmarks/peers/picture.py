"""The run as a picture: time and memory against T, time against the width; one line a system."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rounds import Row
from systems import OURS


class Panel(NamedTuple):
    title: str
    xlabel: str
    ylabel: str
    chosen: Callable[[Row], bool]
    x: Callable[[Row], float]
    y: Callable[[Row], float | None]


def over_steps(work: str, title: str, ylabel: str, y: Callable[[Row], float | None]) -> Panel:
    return Panel(
        title, "T", ylabel, lambda row: row.cell.work == work and row.cell.width == 1, lambda row: row.cell.steps, y
    )


def over_width(work: str, steps: int, title: str, xlabel: str, unit: int) -> Panel:
    return Panel(
        title,
        xlabel,
        "ms",
        lambda row: row.cell.work == work and row.cell.steps == steps,
        lambda row: unit * row.cell.width,
        lambda row: row.ms,
    )


PANELS = (
    over_steps("mlp", "mlp", "ms", lambda row: row.ms),
    over_steps("mlp", "mlp, memory", "peak MB", lambda row: row.megabytes),
    over_width("mlp", 50, "mlp, T = 50", "width", 1),
    over_steps("conv", "conv", "ms", lambda row: row.ms),
    over_width("ridge_cg", 1, "ridge, CG", "d", 100),
    over_steps("maml", "maml", "ms", lambda row: row.ms),
)
MARKS = "os^vDPX<>"


def plot(path: Path, rows: Sequence[Row]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 8.5), layout="constrained")
    FigureCanvasAgg(figure)
    labels = list(dict.fromkeys(row.system.label for row in rows))
    handles: dict[str, Any] = {}
    for axes, panel in zip(figure.subplots(2, 3).flatten(), PANELS):
        ticks: set[float] = set()
        for place, label in enumerate(labels):
            mine = [row for row in rows if row.system.label == label and panel.chosen(row)]
            points = [(panel.x(row), y) for row in mine if (y := panel.y(row)) and y > 0]
            if points:
                ticks |= {x for x, _ in points}
                (handles[label],) = axes.plot(*zip(*sorted(points)), **style(label, place))
        axes.set(title=panel.title, xlabel=panel.xlabel, ylabel=panel.ylabel, xscale="log", yscale="log")
        axes.set_xticks([], minor=True)
        axes.set_xticks(sorted(ticks), [f"{tick:g}" for tick in sorted(ticks)])
        axes.grid(alpha=0.3)
        axes.set_visible(len(ticks) > 1)
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=5)
    figure.savefig(path, dpi=72)


def style(label: str, place: int) -> dict[str, Any]:
    """Ours stands out."""
    if label == OURS:
        return {"color": "black", "linewidth": 2.5, "marker": "o", "zorder": 3}
    return {"color": f"C{place}", "linewidth": 1.2, "marker": MARKS[place % len(MARKS)], "markersize": 5}
