"""The hooks by which packs take part. A pack implements those that it wants, marked with `boat_core.hookimpl`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from ..declare.operation import Operation

if TYPE_CHECKING:
    from ..declare.named import (
        CommandDeclaration,
        ExecutorDeclaration,
        ObserverDeclaration,
        OptimizerDeclaration,
        ProblemDeclaration,
        SweepPlaceDeclaration,
    )

#: The version of this file. It changes when a hook is removed or loses an argument; a pack states the version that it
#: was written for as `BOAT_HOOK_API` in its plugin module.
HOOK_API = 1

hookspec = pluggy.HookspecMarker("boat")
hookimpl = pluggy.HookimplMarker("boat")


@hookspec
def boat_map_operations() -> Sequence[Operation]:  # type: ignore[empty-body]
    """Return operations that build the lower trajectory."""


@hookspec
def boat_approximate_operations() -> Sequence[Operation]:  # type: ignore[empty-body]
    """Return operations that turn a trajectory into a hypergradient."""


@hookspec
def boat_first_order_operations() -> Sequence[Operation]:  # type: ignore[empty-body]
    """Return operations that step both levels with first derivatives."""


@hookspec
def boat_optimizers() -> Sequence[OptimizerDeclaration]:  # type: ignore[empty-body]
    """Return optimizers that configurations can name."""


@hookspec
def boat_problems() -> Sequence[ProblemDeclaration]:  # type: ignore[empty-body]
    """Return problems that configurations can name."""


@hookspec
def boat_observers() -> Sequence[ObserverDeclaration]:  # type: ignore[empty-body]
    """Return observers of runs that configurations can name."""


@hookspec
def boat_executors() -> Sequence[ExecutorDeclaration]:  # type: ignore[empty-body]
    """Return executors that configurations can name: they solve the tasks of an outer step."""


@hookspec
def boat_sweep_places() -> Sequence[SweepPlaceDeclaration]:  # type: ignore[empty-body]
    """Return places that `boat sweep --on` can name: they carry out the runs of a sweep."""


@hookspec
def boat_commands() -> Sequence[CommandDeclaration]:  # type: ignore[empty-body]
    """Return verbs of the command `boat`."""


@hookspec
def boat_run_started(run: Any) -> None:
    """Called once before the first outer step; `run` has config, folder, problem, solver and steps."""


@hookspec
def boat_step_finished(run: Any, step: Any) -> None:
    """Called after every outer step with its `StepResult`."""


@hookspec
def boat_evaluated(run: Any, iteration: int, numbers: dict[str, float]) -> None:
    """Called whenever the problem's `evaluate` gave numbers, with the outer step after which it was asked."""


@hookspec
def boat_checkpoint_written(run: Any, path: Path) -> None:
    """Called after a checkpoint is complete on disk."""


@hookspec
def boat_run_finished(run: Any, summary: dict[str, Any]) -> None:
    """Called once at the end, also after an interrupt; `summary["status"]` says how the run ended."""
