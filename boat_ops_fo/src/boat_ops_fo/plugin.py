"""What this pack brings: BOAT finds it through the entry point of group "boat"."""

from __future__ import annotations

from boat_core import Operation, hookimpl

from .alto import ALTO
from .gaffo import GAFFO
from .meso import MESO
from .pgdo import PGDO
from .vfo import VFO
from .vso import VSO

BOAT_HOOK_API = 1


@hookimpl
def boat_first_order_operations() -> list[Operation]:
    return [VFO, VSO, PGDO, MESO, ALTO, GAFFO]
