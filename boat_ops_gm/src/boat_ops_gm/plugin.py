"""The hooks of this pack. BOAT finds this module through the entry point of group "boat"."""

from __future__ import annotations

from boat_core import Operation, hookimpl

from . import DI, DM, GDA, NGD

BOAT_HOOK_API = 1


@hookimpl
def boat_map_operations() -> list[Operation]:
    return [NGD, DM, GDA, DI]
