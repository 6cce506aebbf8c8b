"""What the core itself declares through the hooks that packs use: optimizers, observers, an executor, a place."""

from __future__ import annotations

from typing import Any

from . import optimizers
from .declare.named import ExecutorDeclaration, ObserverDeclaration, OptimizerDeclaration, SweepPlaceDeclaration
from .optimizers import transforms
from .plugins.hookspecs import hookimpl
from .runs import observers
from .sweeps import processes

BOAT_HOOK_API = 1


@hookimpl
def boat_optimizers() -> list[OptimizerDeclaration]:
    return [*optimizers.DECLARATIONS, *transforms.DECLARATIONS]


@hookimpl
def boat_observers() -> list[ObserverDeclaration]:
    return observers.DECLARATIONS


@hookimpl
def boat_executors() -> list[ExecutorDeclaration]:
    return [ExecutorDeclaration("sequential", "solve the tasks one after the other, in this process", _sequential)]


@hookimpl
def boat_sweep_places() -> list[SweepPlaceDeclaration]:
    return [processes.DECLARATION]


def _sequential(options: Any) -> Any:
    from .bilevel.executor import sequential

    return sequential(options)
