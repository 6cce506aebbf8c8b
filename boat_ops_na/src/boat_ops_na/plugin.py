"""What this pack brings: BOAT finds it through the entry point of group "boat"."""

from __future__ import annotations

from boat_core import Operation, hookimpl

from .cg import CG
from .rad import RAD

BOAT_HOOK_API = 1


@hookimpl
def boat_approximate_operations() -> list[Operation]:
    return [RAD, CG]
