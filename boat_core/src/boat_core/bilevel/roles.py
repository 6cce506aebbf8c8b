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
from .bounds import Projection
from .objectives import project
from .trajectory import Hypergradient, Point
from .user_code import runs_user_code


@dataclass(frozen=True)
class Iteration:
    """One outer iteration as a base map with its own adjoint sees it.

    Args:
        k: the number of outer iterations done before.
        names: the names of the solver's operations.
        labels: the names, roles and tags of the solver's operations.
        state: what the map returned last time; at first what its `init` returned.
        point: `(options of modifiers, by label) -> Point` at (x_k, y_k), where ψ is f as the solver's modifiers wrap it
            with these options in place of their own.
    """

    k: int
    names: frozenset[str]
    state: Any
    point: Callable[[Mapping[str, Mapping[str, Any]]], Point]
    labels: frozenset[str] = frozenset()


@dataclass(frozen=True)
class MapStep:
    """One step: the direction that the lower optimizer descends, the hypergradient, and how far x may go.

    Args:
        direction: the direction for y, in the space of y.
        hypergradient: the hypergradient, with the report and the concerns of the whole step.
        state: what the map is given in the next iteration.
        upper_scale: a factor on the upper optimizer's step, for schedules of its rate.
    """

    direction: Vector
    hypergradient: Hypergradient
    state: Any = None
    upper_scale: float = 1.0


@dataclass(frozen=True)
class FirstOrderStep:
    """One step of a first-order method.

    Args:
        y: the new y.
        direction: the direction for x, which the upper optimizer descends.
        state: what the method is given in the next iteration.
        report: figures for the report of the step.
        concerns: sentences that each say why a number may be wrong.
    """

    y: Vector
    direction: Vector
    state: Any = None
    report: Mapping[str, Any] = field(default_factory=dict)
    concerns: tuple[str, ...] = ()


class Descent:
    """The lower optimizer as operations use it: `y = descend(y, direction)`. Its state lasts over all outer steps."""

    def __init__(self, optimizer: Optimizer, state: Any, projection: Projection | None) -> None:
        self._optimizer, self._projection = optimizer, projection
        self.state = state

    @runs_user_code
    def __call__(self, y: Vector, direction: Vector) -> Vector:
        updates, self.state = self._optimizer.update(direction.tree, self.state, y.tree)
        moved = y.like_tree(apply_updates(y.tree, updates))
        return project(moved, self._projection, "project_lower").detach()
