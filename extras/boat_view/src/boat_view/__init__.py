"""Reports on runs, pictures of hypergradients, and observers that record runs for TensorBoard and MLflow.

`boat_core.draw`, `boat draw` and `boat report` are the usual ways in. `draw` loads on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .drawing.picture import draw

__all__ = ["draw"]


def __getattr__(name: str) -> Any:
    if name != "draw":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .drawing.picture import draw

    return draw
