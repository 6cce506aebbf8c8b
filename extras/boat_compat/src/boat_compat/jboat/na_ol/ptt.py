"""PTT: the trajectory until the step where F is largest."""

from __future__ import annotations

from typing import ClassVar

from ..operation_registry import register_class
from .boat_operation import BoatOperation


@register_class
class PTT(BoatOperation):
    """BOAT's operation PTT."""

    operation: ClassVar[str] = "PTT"
