"""An operation pack as a third party publishes it: it uses nothing of the core but its public names."""

from __future__ import annotations

from .f2sa import F2SA
from .nystrom import NYSTROM

__all__ = ["F2SA", "NYSTROM"]
