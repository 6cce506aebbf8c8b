"""What this pack brings: BOAT finds it through the entry point of group "boat"."""

from __future__ import annotations

from boat_core import Operation, hookimpl

from .cg import CG
from .fd import FD
from .foa import FOA
from .iad import IAD
from .iga import IGA
from .ns import NS
from .ptt import PTT
from .rad import RAD
from .rgt import RGT

BOAT_HOOK_API = 1


@hookimpl
def boat_approximate_operations() -> list[Operation]:
    return [RAD, RGT, PTT, IAD, FOA, FD, CG, NS, IGA]
