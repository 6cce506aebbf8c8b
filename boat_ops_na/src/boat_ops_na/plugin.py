"""The hooks of this pack. BOAT finds this module through the entry point of group "boat"."""

from __future__ import annotations

from boat_core import Operation, hookimpl

from . import CG, ES, FD, FOA, IAD, IGA, NS, PTT, RAD, RGT

BOAT_HOOK_API = 1


@hookimpl
def boat_approximate_operations() -> list[Operation]:
    return [RAD, RGT, PTT, IAD, FOA, FD, CG, NS, IGA, ES]
