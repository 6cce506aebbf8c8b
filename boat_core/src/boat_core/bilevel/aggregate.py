"""ψ, the objective that the lower steps descend: f as the map chain's modifiers wrap it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..autodiff.evaluation import evaluating
from ..autodiff.vectors import Vector
from ..plugins.composition import Composition
from ..plugins.entries import Registered
from .invoke import apply_operation, raise_operation_error
from .objectives import Bilevel
from .trajectory import LowerObjective


def aggregated(
    composition: Composition, bilevel: Bilevel, overrides: Mapping[str, Mapping[str, Any]] | None = None
) -> LowerObjective:
    """Return ψ on the batches of `bilevel`.

    Args:
        composition: the operations and their options.
        bilevel: F and f with their batches.
        overrides: by a label of a modifier, options in place of its own.
    """
    objective: LowerObjective = bilevel.lower
    for entry in composition.map[:-1]:
        if entry.operation.apply:
            own = [values for label, values in (overrides or {}).items() if label in entry.operation.labels]
            options = replace(composition.options[entry.name], **{k: v for values in own for k, v in values.items()})
            objective = _modified(entry, apply_operation(entry, bilevel.upper, objective, options), bilevel.native)
    if bilevel.guard == "off":
        return objective

    def guarded(x: Vector, y: Vector, t: int) -> Any:
        with evaluating(guard=bilevel.guard):
            return objective(x, y, t)

    return guarded


def _modified(entry: Registered, objective: Any, native: bool) -> LowerObjective:
    """Return what a modifier made, evaluated as a user's objective is: its own numbers are as exact."""
    if not callable(objective):
        raise_operation_error(entry, f"returned {type(objective).__name__}, expected an objective (x, y, t)")

    def evaluated(x: Vector, y: Vector, t: int) -> Any:
        with evaluating(native=native, differentiated=True, point=x.leaves + y.leaves):
            return objective(x, y, t)

    return evaluated
