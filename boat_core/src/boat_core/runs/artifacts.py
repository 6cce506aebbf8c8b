"""What a run leaves in its folder beside its metrics: versions, evaluations, variables, the picture."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .._util.atomic import write_atomically
from ..errors import RunError
from .lines import read_lines

METRICS = "metrics.jsonl"


class RunWarning(UserWarning):
    """Something beside a run's numbers went wrong, such as a picture that could not be drawn."""


def versions(decisions: Any) -> dict[str, Any]:
    """Return what else the numbers of a run depend on, beside its configuration."""
    import importlib.metadata

    from ..plugins.discovery import installed
    from ..plugins.metadata import CORE

    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        CORE: importlib.metadata.version(CORE),
        "packs": dict(sorted(installed().packs.items())),
        **{name: importlib.metadata.version(name) for name in ("jittor", "numpy")},
        **asdict(decisions),
    }


def evaluation(problem: Any, upper: Any, lower: Any) -> dict[str, float]:
    """Return the numbers that `problem.evaluate` computes of the variables.

    Raises:
        RunError: they are not a mapping of numbers.
    """
    values = problem.evaluate(upper, lower) if problem.evaluate else {}
    if not isinstance(values, Mapping):
        raise RunError(f"problem.evaluate: expected a dict of numbers (got {type(values).__name__})")
    numbers = {}
    for name, value in values.items():
        try:
            numbers[str(name)] = float(value.item() if hasattr(value, "item") else value)
        except (TypeError, ValueError, RuntimeError):
            raise RunError(f"problem.evaluate: expected a number for {name!r} (got {type(value).__name__})") from None
    return numbers


def write_variables(path: Path, upper: Any, lower: Any) -> None:
    """Write both pytrees as one `.npz`, keyed by paths such as `upper/weights/0`; no pickling is needed to read it."""
    import numpy as np
    import optree

    arrays = {}
    for role, tree in (("upper", upper), ("lower", lower)):
        paths, leaves, _ = optree.tree_flatten_with_path(tree)
        for keys, leaf in zip(paths, leaves):
            name = "/".join([role, *(str(key).replace("/", "%2F") for key in keys)])
            arrays[name] = np.asarray(leaf.numpy() if hasattr(leaf, "numpy") else leaf)
    write_atomically(path, lambda file: np.savez(file, **arrays))


def write_picture(path: Path, problem: Any, upper: Any, lower: Any) -> None:
    """Draw the losses over the steps, and beside them the panels of the problem, which receive numpy arrays."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        warn("no picture: matplotlib is not installed; pip install 'boat-core[plots]'")
        return
    from ..autodiff.vectors import tree_to_numpy

    figure = Figure(figsize=(6 * (1 + len(problem.panels)), 4), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = tree_to_numpy(upper), tree_to_numpy(lower)
    first, *others = figure.subplots(1, 1 + len(problem.panels), squeeze=False)[0]
    _draw_losses(first, read_lines(path.with_name(METRICS)))
    for axes, (title, draw) in zip(others, problem.panels.items()):
        axes.set_title(title)
        try:
            draw(axes, upper, lower)
        except Exception as error:
            axes.clear()
            axes.set_title(f"{title}: {type(error).__name__}")
            warn(f"panel {title!r} could not be drawn: {type(error).__name__}: {error}")
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=120))


def _draw_losses(axes: Any, lines: list[dict[str, Any]]) -> None:
    steps = [line["iteration"] + 1 for line in lines]
    twin = axes.twinx()
    for place, level, color in ((axes, "upper", "tab:blue"), (twin, "lower", "tab:orange")):
        place.plot(steps, [float(line[f"{level}_loss"]) for line in lines], color=color)
        place.set_ylabel(f"{level} loss", color=color)
    axes.set_xlabel("outer step")
    axes.set_title("losses")


def warn(message: str) -> None:
    """Warn of something that does not affect the numbers of the run."""
    warnings.warn(message, RunWarning, stacklevel=3)
