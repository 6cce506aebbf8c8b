"""`boat_core.draw`: the picture of a hypergradient, drawn by the pack that has the command `boat draw`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .graph import HypergradientGraph
    from .problem import TasksLike
    from .solver import Solver


def draw(
    graph: HypergradientGraph | Solver,
    path: str | Path,
    *,
    lower_batch: Any = None,
    upper_batch: Any = None,
    tasks: TasksLike | None = None,
) -> Path:
    """Draw a hypergradient into a file whose name ends in .svg, .png or .pdf. Return its path.

    The core does not draw by itself: `pip install boat-view` does.

    Args:
        graph: the result of `Solver.graph`, or a solver, whose hypergradient is then computed.
        path: the file. An existing file is replaced. Its folder must exist.
        lower_batch, upper_batch, tasks: the data for a solver, as `Solver.graph` takes them.

    Raises:
        OptionError: the suffix of the file is another one, or there are batches beside a graph.
        RunError: no installed pack draws, the folder does not exist, or the file cannot be written.
        Errors of `Solver.graph`, if a solver is given. In each case nothing is written.
    """
    from ..plugins.commands import command_function
    from ..plugins.discovery import installed

    function = command_function(installed(), "draw")
    drawn: Path = function(graph, path, lower_batch=lower_batch, upper_batch=upper_batch, tasks=tasks)
    return drawn
