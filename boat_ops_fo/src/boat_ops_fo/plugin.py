"""The hooks of this pack. BOAT finds this module through the entry point of group "boat"."""

from __future__ import annotations

from boat_core import Operation, hookimpl

from . import ALTO, GAFFO, MESO, PGDO, VFO, VSO

BOAT_HOOK_API = 1


@hookimpl
def boat_first_order_operations() -> list[Operation]:
    return [VFO, VSO, PGDO, MESO, ALTO, GAFFO]
