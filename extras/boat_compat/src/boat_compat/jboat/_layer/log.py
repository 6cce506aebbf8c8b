"""What `run_iter` returns as its first value, and the file of losses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Log(list[dict[str, Any]]):
    """The entries of one iteration. Where a script formats it as a number, it is the upper loss.

    Args:
        entries: the entries.
        upper_loss: F(x, y_T) before the upper step.
    """

    def __init__(self, entries: list[dict[str, Any]], upper_loss: float) -> None:
        super().__init__(entries)
        self.upper_loss = upper_loss

    def __float__(self) -> float:
        return self.upper_loss

    def __format__(self, form: str) -> str:
        return format(self.upper_loss, form) if form else str(self)


class LossFile:
    """A JSON list of losses that grows by one entry, without being written anew."""

    def __init__(self, path: Path) -> None:
        self.path, self._size = path, -1

    def append(self, history: list[dict[str, Any]]) -> None:
        """Add the last entry of the history. Write all of it if somebody else has changed the file.

        Raises:
            OSError: the file cannot be written.
        """
        if self._size < 0 or not self.path.exists() or self.path.stat().st_size != self._size:
            rows = ",\n".join(map(json.dumps, history))
            self.path.write_text(f"[\n{rows}\n]", "utf8")
        else:
            with self.path.open("r+b") as file:
                file.seek(-2, 2)
                file.write(f",\n{json.dumps(history[-1])}\n]".encode())
        self._size = self.path.stat().st_size


def plot(history: list[dict[str, Any]], path: Path) -> None:
    """Draw the lower and the upper loss over the iterations."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    iterations = [row["iter"] for row in history]
    for key, label in (("ll_loss", "lower-level loss"), ("ul_loss", "upper-level loss")):
        axes.plot(iterations, [row[key] for row in history], label=label)
    axes.set_xlabel("iteration")
    axes.set_ylabel("loss")
    axes.legend()
    figure.savefig(path)
