"""RAD: the exact derivative through the lower trajectory."""

from __future__ import annotations

from typing import ClassVar

from ..operation_registry import register_class
from .boat_operation import BoatOperation


@register_class
class RAD(BoatOperation):
    """BOAT's operation RAD."""

    operation: ClassVar[str] = "RAD"
