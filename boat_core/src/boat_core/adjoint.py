"""What a base map that makes the hypergradient itself is given, and returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .trajectory import Hypergradient, Point
from .trees import Vector


@dataclass(frozen=True)
class Iteration:
    """One outer iteration as such a map sees it.

    Args:
        k: outer iterations done before.
        names: the operations of the solver.
        state: what the map returned last time, at first what its `init` gave.
        point: `(options of modifiers, by name) -> Point` at (x_k, y_k), where ψ is f as the solver's modifiers wrap it
            with these options in place of their own.
    """

    k: int
    names: frozenset[str]
    state: Any
    point: Callable[[Mapping[str, Mapping[str, Any]]], Point]


@dataclass(frozen=True)
class MapStep:
    """One step: the direction that the lower optimizer descends, the hypergradient, and how far x may go.

    Args:
        direction: in the space of y.
        hypergradient: with the report and the concerns of the whole step.
        state: for the next iteration.
        upper_scale: factor on the upper optimizer's step, for schedules of its rate.
    """

    direction: Vector
    hypergradient: Hypergradient
    state: Any = None
    upper_scale: float = 1.0
