"""Adapts a learner to one task outside a solver, as for an evaluation: the T lower steps, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import optree

import boat_core as boat


def adapt(
    objective: Callable[[Any, Any, Any], Any],
    optimizer: boat.Optimizer | Callable[[Any], boat.Optimizer],
    x: Any,
    y: Any,
    batch: Any,
    steps: int,
) -> Any:
    """Return y_T: `steps` steps of the lower optimizer along -∇_y objective(x, y, batch), from y.

    Args:
        objective: The lower objective f.
        optimizer: The lower optimizer, or a function of x that returns it, as `boat.Solver` takes it.
        x, y: Pytrees of arrays; y is where the steps begin.
        batch: The lower batch. Like x and y, it may hold arrays of numpy.
        steps: T, at least 0.

    Raises:
        NonFiniteError: f or its gradient is not finite.
    """
    x, y, batch = as_jittor(x), as_jittor(y), as_jittor(batch)
    stepper = optimizer if isinstance(optimizer, boat.Optimizer) else optimizer(x)
    gradient, state = boat.value_and_grad(objective, 1), stepper.init(y)
    for _ in range(steps):
        updates, state = stepper.update(gradient(x, y, batch)[1], state, y)
        y, state = boat.stop_gradient((boat.apply_updates(y, updates), state))
    return y


def as_jittor(tree: Any) -> Any:
    """Return a pytree with its numpy arrays as Jittor arrays of the same dtype. Other leaves stay as they are."""
    import jittor

    def convert(leaf: Any) -> Any:
        return jittor.array(leaf, dtype=str(leaf.dtype)) if isinstance(leaf, np.ndarray) else leaf

    return optree.tree_map(convert, tree)
