"""BOAT's first-order operations: single-level surrogates."""

from .alto import ALTO
from .gaffo import GAFFO
from .meso import MESO
from .pgdo import PGDO
from .vfo import VFO
from .vso import VSO

__all__ = ["ALTO", "GAFFO", "MESO", "PGDO", "VFO", "VSO"]
