"""The first-order methods: they step both levels by first derivatives."""

from .meso import MESO
from .pgdo import PGDO
from .vfo import VFO
from .vso import VSO

__all__ = ["MESO", "PGDO", "VFO", "VSO"]
