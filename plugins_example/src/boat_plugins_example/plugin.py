"""What this pack brings: BOAT finds it through the entry point of group "boat"."""

from __future__ import annotations

from boat_core import Operation, hookimpl

from .t1t2 import T1T2

BOAT_HOOK_API = 1


@hookimpl
def boat_approximate_operations() -> list[Operation]:
    return [T1T2]
