"""The hooks of this pack. BOAT finds this module through the entry point of group "boat"."""

from __future__ import annotations

from boat_core import Operation, hookimpl

from . import F2SA, NYSTROM

BOAT_HOOK_API = 1


@hookimpl
def boat_approximate_operations() -> list[Operation]:
    return [NYSTROM]


@hookimpl
def boat_first_order_operations() -> list[Operation]:
    return [F2SA]
