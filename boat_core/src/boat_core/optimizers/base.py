"""What an optimizer is: two pure functions, as in optax."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import optree


@dataclass(frozen=True)
class Optimizer:
    """A functional optimizer.

    Args:
        name: as configurations name it.
        init: `(parameters) -> state`, a pytree of arrays and integers.
        update: `(gradient, state, parameters) -> (updates, state)`; the updates are *added* to the parameters.
            Pure and differentiable, so the very same function serves both levels.
        plain_rate: η where one update is exactly -η · gradient, else None. Estimators that take the step to be
            y - η∇ψ rely on it.
        rate: its step size where it has one; operations whose own is not given take it.
        options: what it was made with, for kernels that do the same step; without them it is stepped as `update` says.
    """

    name: str
    init: Callable[[Any], Any]
    update: Callable[[Any, Any, Any], tuple[Any, Any]]
    plain_rate: float | None = None
    rate: float | None = None
    options: Any = None


def apply_updates(parameters: Any, updates: Any) -> Any:
    """Return parameters + updates."""
    return optree.tree_map(lambda p, u: p + u, parameters, updates)
