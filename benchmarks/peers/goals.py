"""The ratios that the project aims at, from the rows of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rounds import Cell, Row
from systems import OURS, REFERENCE

RIDGE = (Cell("ridge_cg", 1, 1), Cell("ridge_cg", 1, 100))


def goals(rows: Sequence[Row]) -> Iterator[str]:
    """One line of Markdown for each."""
    for steps in (50, 200):
        cell = Cell("mlp", steps)
        yield judged(f"mlp, T = {steps}, ours / fastest on JAX", rows, cell, fastest_jax(rows, cell), 1.0)
    for steps in (50, 200):
        yield judged(f"mlp, T = {steps}, ours / TorchOpt", rows, Cell("mlp", steps), named("TorchOpt"), 0.5)
    cell = Cell("mlp", 200)
    yield memory("mlp, T = 200, peak memory, ours / fastest on JAX", rows, cell, fastest_jax(rows, cell), 0.4)
    for cell in RIDGE:
        what = f"ridge with CG, d = {100 * cell.width:,}, ours / {REFERENCE}"
        yield judged(what, rows, cell, named(REFERENCE), 1.0)
    for steps in (1, 10, 50):
        yield judged(f"conv, T = {steps}, ours / {REFERENCE}", rows, Cell("conv", steps), named(REFERENCE), 0.7)


Choice = Callable[[Row], bool]


def named(label: str) -> Choice:
    return lambda row: row.system.label == label


def find(rows: Sequence[Row], cell: Cell, choice: Choice) -> Row | None:
    return next((row for row in rows if row.cell == cell and choice(row) and row.ms is not None), None)


def fastest_jax(rows: Sequence[Row], cell: Cell) -> Choice:
    """The fastest of all that runs on JAX, as far as its numbers are right."""
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
