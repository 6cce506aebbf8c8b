"""The ratios that are the goals of the project, from the rows of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rounds import Cell, Row
from systems import OURS, REFERENCE

#: (work, T, width, who, the largest ratio of times); "JAX" stands for its fastest system with correct numbers.
JAX = "JAX"
TIMES = (
    *(("mlp", steps, 1, JAX, most) for steps, most in ((50, 0.5), (200, 0.5), (1000, 0.8))),
    *(("mlp", steps, 1, "TorchOpt", 0.35) for steps in (50, 200)),
    *(("conv", steps, 1, REFERENCE, 0.75) for steps in (10, 50)),
    *((work, 1, width, JAX, 0.9) for work in ("ridge_cg", "ridge_ns") for width in (1, 100)),
    ("maml", 5, 1, JAX, 0.6),
    ("maml", 5, 1, REFERENCE, 0.2),
)


def goals(rows: Sequence[Row]) -> Iterator[str]:
    """One line of Markdown for each."""
    for work, steps, width, who, most in TIMES:
        cell = Cell(work, steps, width)
        size = f"d = {100 * width:,}" if work.startswith("ridge") else f"T = {steps:,}"
        what = f"{work}, {size}, ours / {'fastest on JAX' if who == JAX else who}"
        yield judged(what, rows, cell, fastest_jax(rows, cell) if who == JAX else named(who), most)
    cell = Cell("mlp", 200)
    yield memory("mlp, T = 200, peak memory, ours / fastest on JAX", rows, cell, fastest_jax(rows, cell), 0.4)


Choice = Callable[[Row], bool]


def named(label: str) -> Choice:
    return lambda row: row.system.label == label


def find(rows: Sequence[Row], cell: Cell, choice: Choice) -> Row | None:
    return next((row for row in rows if row.cell == cell and choice(row) and row.ms is not None), None)


def fastest_jax(rows: Sequence[Row], cell: Cell) -> Choice:
    """Return the fastest system on JAX whose numbers are correct."""
    runs = [row for row in rows if row.cell == cell and row.system.environment == "jax" and row.ms is not None]
    best = min((row for row in runs if not row.off("float32")), key=lambda row: row.ms or 0.0, default=None)
    return lambda row: row is best


def judged(what: str, rows: Sequence[Row], cell: Cell, choice: Choice, most: float) -> str:
    """The ratio of the median times."""
    ours, peer = find(rows, cell, named(OURS)), find(rows, cell, choice)
    if not (ours and peer and ours.ms and peer.ms):
        return f"- {what}, at most {most}: not measured"
    text, kept = verdict(what, ours, peer, ours.ms / peer.ms, most), find(rows, cell, named(f"{OURS} segment all"))
    return text + (f"; {kept.ms / peer.ms:.2f} with segment all" if kept and kept.ms else "")


def memory(what: str, rows: Sequence[Row], cell: Cell, choice: Choice, most: float) -> str:
    """The ratio of the peaks, and the one without what the peer's compiler leaves behind, which grows with no T."""
    ours, peer = find(rows, cell, named(OURS)), find(rows, cell, choice)
    if not (ours and peer and ours.megabytes and peer.megabytes):
        return f"- {what}, at most {most}: not measured"
    text = verdict(what, ours, peer, ours.megabytes / peer.megabytes, most)
    if left := peer.compiler_megabytes:
        text += f"; {ours.megabytes / (peer.megabytes - left):.2f} without the {left:.0f} MB that its compiler left"
    return text


def verdict(what: str, ours: Row, peer: Row, ratio: float, most: float) -> str:
    reached = "reached" if ratio <= most else "**not reached**"
    doubt = ", though the numbers of ours are off" if ours.off("float32") or ours.off("float64") else ""
    who = "" if peer.system.label in what else f" ({peer.system.label})"
    return f"- {what}{who} = {ratio:.2f}, at most {most}: {reached}{doubt}"
