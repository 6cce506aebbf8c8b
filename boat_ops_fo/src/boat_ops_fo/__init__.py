"""BOAT's first-order operations. They replace the bilevel problem by a single-level one."""

from .alto import ALTO
from .gaffo import GAFFO
from .meso import MESO
from .pgdo import PGDO
from .vfo import VFO
from .vso import VSO

__all__ = ["ALTO", "GAFFO", "MESO", "PGDO", "VFO", "VSO"]
