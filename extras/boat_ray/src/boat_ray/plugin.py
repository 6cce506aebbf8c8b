"""What this pack brings: BOAT finds it through the entry point of group "boat".

Ray is imported when it is used, for this file is imported whenever `boat` starts.
"""

from __future__ import annotations

from typing import Any

from boat_core import ExecutorDeclaration, SweepPlaceDeclaration, hookimpl

from .options import ExecutorOptions, PlaceOptions

BOAT_HOOK_API = 1


@hookimpl
def boat_executors() -> list[ExecutorDeclaration]:
    summary = "solve the tasks of an outer step in workers of Ray, on this machine or many"
    return [ExecutorDeclaration("ray", summary, _executor, ExecutorOptions, "boat-ray")]


@hookimpl
def boat_sweep_places() -> list[SweepPlaceDeclaration]:
    summary = "tasks of Ray, on this machine or many"
    return [SweepPlaceDeclaration("ray", summary, _place, PlaceOptions, "boat-ray")]


def _executor(options: ExecutorOptions) -> Any:
    from .executor import build

    return build(options)


def _place(options: PlaceOptions) -> Any:
    from .place import build

    return build(options)
