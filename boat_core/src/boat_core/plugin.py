"""What the core itself brings by the hooks that packs use: its optimizers and observers."""

from __future__ import annotations

from . import observers, optimizers
from .declarations import ObserverDeclaration, OptimizerDeclaration
from .hookspecs import hookimpl

BOAT_HOOK_API = 1


@hookimpl
def boat_optimizers() -> list[OptimizerDeclaration]:
    return optimizers.DECLARATIONS


@hookimpl
def boat_observers() -> list[ObserverDeclaration]:
    return observers.DECLARATIONS
