"""What the core itself brings by the hooks that packs use: its optimizers, transforms and observers."""

from __future__ import annotations

from . import optimizers
from .declare.named import ObserverDeclaration, OptimizerDeclaration
from .optimizers import transforms
from .plugins.hookspecs import hookimpl
from .runs import observers

BOAT_HOOK_API = 1


@hookimpl
def boat_optimizers() -> list[OptimizerDeclaration]:
    return [*optimizers.DECLARATIONS, *transforms.DECLARATIONS]


@hookimpl
def boat_observers() -> list[ObserverDeclaration]:
    return observers.DECLARATIONS
