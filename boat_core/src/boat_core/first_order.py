"""What first-order methods are given and return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .bilevel import project
from .optimizers.base import Optimizer, apply_updates
from .problem import Projection
from .trees import Vector


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

    def __call__(self, y: Vector, direction: Vector) -> Vector:
        updates, self.state = self._optimizer.update(direction.tree, self.state, y.tree)
        moved = y.like_tree(apply_updates(y.tree, updates))
        return project(moved, self._projection, "project_lower").detach()
