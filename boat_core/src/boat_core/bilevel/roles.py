"""What operations are given and return, where that is neither a trajectory nor a hypergradient.

`Iteration` and `MapStep` belong to base maps that compute the hypergradient themselves, `Descent` and `FirstOrderStep`
to first-order methods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..autodiff.vectors import Vector
from ..optimizers.base import Optimizer, apply_updates
from .objectives import project
from .problem import Projection
from .trajectory import Hypergradient, Point
from .user_code import runs_user_code


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


@dataclass(frozen=True)
class FirstOrderStep:
    """One step of a method: the new y, the direction that the upper optimizer descends, and what there is to say."""

    y: Vector
    direction: Vector
    state: Any = None
    report: Mapping[str, Any] = field(default_factory=dict)
    concerns: tuple[str, ...] = ()


class Descent:
    """The lower optimizer as a method uses it: `y = descend(y, direction)`. Its state lasts over all steps of a run."""

    def __init__(self, optimizer: Optimizer, state: Any, projection: Projection | None) -> None:
        self._optimizer, self._projection = optimizer, projection
        self.state = state

    @runs_user_code
    def __call__(self, y: Vector, direction: Vector) -> Vector:
        updates, self.state = self._optimizer.update(direction.tree, self.state, y.tree)
        moved = y.like_tree(apply_updates(y.tree, updates))
        return project(moved, self._projection, "project_lower").detach()
