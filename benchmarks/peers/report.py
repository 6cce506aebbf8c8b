"""The report of a run in Markdown: a table for each work, slopes, goals and the machine."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from goals import goals
from machine import machine
from rounds import ROUNDS, TOLERANCES, Cell, Row
from systems import OURS, REFERENCE, System

TITLES = {
    "mlp": "mlp: hyper-cleaning, unrolled",
    "conv": "conv: the same with convolutions",
    "attention": "attention: the same with attention and layer normalisation",
    "ridge_cg": "ridge, conjugate gradient",
    "ridge_ns": "ridge, Neumann series",
    "maml": "maml: sinusoids",
    "few_shot": "few_shot: five classes, one row each, four convolutions, four tasks",
}
#: The name of the width of each work, and its size at width 1.
WIDTHS = {"mlp": ("width", 1), "ridge_cg": ("d", 100), "ridge_ns": ("d", 100)}

LEGEND = """\
Each system computes one hypergradient in float32. The systems take turns, each in a fresh process, in {rounds}.

- **ms**: median (least–most) of all warm calls; **× ours**: relative to ours.
- **peak MB**: the peak memory of the process, minus its memory after loading the data. Compilers in the process count.
  The figure is the median of the processes.
- **first s**, **compile s**: the first call of the first process with its compilation, and the compilation alone. Ours
  keeps kernels on disk and compiles none that an earlier run has left there.
- **float32**, **float64**: the largest difference to PyTorch by hand in float64, relative to the largest entry. Beyond
  {single:.0e} and {double:.0e} it is marked as off."""


def document(rows: Sequence[Row], systems: Sequence[System], call: str, minutes: float, rounds: int = ROUNDS) -> str:
    works = list(dict.fromkeys(row.cell.work for row in rows))
    legend = LEGEND.format(
        rounds=f"{rounds} round{'s' * (rounds > 1)}", single=TOLERANCES["float32"], double=TOLERANCES["float64"]
    )
    made = f"Made by `{call}` in {minutes:.0f} minutes on {machine()}, {platform.system()}."
    parts = [made, versions(systems), legend, "## Goals", "\n".join(goals(rows))]
    for work in works:
        mine = [row for row in rows if row.cell.work == work]
        parts += [f"## {TITLES[work]}", table(mine), notes(work, systems), slopes(mine)]
    return "\n\n".join(part for part in parts if part) + "\n"


def versions(systems: Iterable[System]) -> str:
    by_environment: dict[str, dict[str, str]] = {}
    for system in systems:
        by_environment.setdefault(system.environment, {}).update(system.versions)
    texts = (", ".join(f"{name} {version}" for name, version in each.items()) for each in by_environment.values())
    return "; ".join(texts) + "."


# Tables


def table(rows: Sequence[Row]) -> str:
    name, _ = WIDTHS.get(rows[0].cell.work, ("", 1))
    sizes = ["T", name] if name else ["T"]
    head = [*sizes, "system", "ms", "× ours", "peak MB", "first s", "compile s", *TOLERANCES]
    lines = [f"| {' | '.join(head)} |", "|" + "--:|" * len(sizes) + "---|" + "--:|" * (len(head) - len(sizes) - 1)]
    return "\n".join([*lines, *(line(row, rows) for row in rows)])


def line(row: Row, rows: Sequence[Row]) -> str:
    """Return a row of the table. A system that failed has its error in place of its time."""
    ours = next((other.ms for other in rows if other.cell == row.cell and other.system.label == OURS), None)
    failed = "float32" in row.failures
    cells = [
        *size(row.cell),
        row.system.label,
        failure(row.failures["float32"]) if failed else spread(row.times),
        number(row.ms / ours if row.ms and ours else None, ".2f"),
        number(row.megabytes, ".0f"),
        number(row.first("first"), ".2f"),
        number(row.first("compile"), ".2f"),
        *(error(row, dtype) for dtype in TOLERANCES),
    ]
    return f"| {' | '.join(cells)} |"


def size(cell: Cell) -> list[str]:
    name, unit = WIDTHS.get(cell.work, ("", 1))
    return [str(cell.steps), f"{unit * cell.width:,}"] if name else [str(cell.steps)]


def spread(times: Sequence[float]) -> str:
    middle, low, high = float(np.median(times)), min(times), max(times)
    places = 0 if middle >= 100 else 1 if middle >= 10 else 2
    return f"{middle:.{places}f} ({low:.{places}f}–{high:.{places}f})"


def number(value: float | None, form: str) -> str:
    return "–" if value is None else f"{value:{form}}"


def error(row: Row, dtype: str) -> str:
    if dtype in row.failures:
        return "failed" if row.failures[dtype] == row.failures.get("float32") else failure(row.failures[dtype])
    if row.double and row.system.label == REFERENCE and dtype == "float64":
        return "reference"
    text = number(row.errors.get(dtype), ".0e").replace("0e+00", "0")
    return f"**{text} off**" if row.off(dtype) else text


def failure(reason: str) -> str:
    return f"failed: {reason}".replace("|", "\\|")


def notes(work: str, systems: Iterable[System]) -> str:
    """Once for each system, not for each of its variants."""
    texts = {system.name: system.note(work) for system in systems}
    return "\n".join(f"- {name}: {text}." for name, text in texts.items() if text)


# Slopes


def slopes(rows: Sequence[Row]) -> str:
    """Return the cost of one more lower step, and the power of the width with which the time grows."""
    narrow = [row for row in rows if row.cell.width == 1]
    steps = next((row.cell.steps for row in rows if row.cell.width > 1), None)
    by_width = [row for row in rows if row.cell.steps == steps]
    name, _ = WIDTHS.get(rows[0].cell.work, ("", 1))
    columns: dict[str, dict[str, str]] = {}
    if len({row.cell.steps for row in narrow}) > 1:
        columns["ms per step"] = fitted(narrow, lambda cell: cell.steps, lambda row: row.ms, ".3f")
        columns["MB per step"] = fitted(narrow, lambda cell: cell.steps, lambda row: row.megabytes, ".3f")
    if by_width:
        logarithm = fitted(
            by_width, lambda cell: np.log(cell.width), lambda row: float(np.log(row.ms)) if row.ms else None, ".2f"
        )
        columns[f"power of {name}"] = logarithm
    if not columns:
        return ""
    lines = [f"| system | {' | '.join(columns)} |", "|---|" + "--:|" * len(columns)]
    for label in dict.fromkeys(row.system.label for row in rows):
        lines.append(f"| {label} | {' | '.join(column[label] for column in columns.values())} |")
    return "\n".join(lines)


def fitted(
    rows: Sequence[Row], x: Callable[[Cell], float], y: Callable[[Row], float | None], form: str
) -> dict[str, str]:
    """Return the slope of the least-squares line of each system."""
    points: dict[str, list[tuple[float, float]]] = {row.system.label: [] for row in rows}
    for row in rows:
        if (value := y(row)) is not None:
            points[row.system.label].append((x(row.cell), value))
    return {label: number(slope(line), form) for label, line in points.items()}


def slope(points: Sequence[tuple[float, float]]) -> float | None:
    return float(np.polyfit(*zip(*points), 1)[0]) if len({x for x, _ in points}) > 1 else None


# The file

BEGIN, END = "<!-- table -->", "<!-- end -->"


def write(path: Path, text: str) -> None:
    """Replace the text between the markers, and keep the other text of the file."""
    old = path.read_text("utf-8") if path.exists() else f"# Peers\n\n{BEGIN}\n{END}\n"
    if old.count(BEGIN) != 1 or old.count(END) != 1:
        raise SystemExit(f"{path}: expected the markers {BEGIN} and {END}, once each")
    before, rest = old.split(BEGIN)
    path.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{rest.split(END)[1]}", "utf-8")
