"""An operation pack as a third party would publish it. It uses only public names of the core."""

from __future__ import annotations

from .f2sa import F2SA
from .nystrom import NYSTROM

__all__ = ["F2SA", "NYSTROM"]
