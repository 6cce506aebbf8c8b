"""What this pack brings: BOAT finds it through the entry point of group "boat"."""

from __future__ import annotations

from boat_core import ExecutorDeclaration, hookimpl

BOAT_HOOK_API = 1


@hookimpl
def boat_executors() -> list[ExecutorDeclaration]:
    return []
