"""BOAT's gradient mapping operations. They define how the lower trajectory is built."""

from .di import DI
from .dm import DM
from .gda import GDA
from .ngd import NGD

__all__ = ["DI", "DM", "GDA", "NGD"]
