"""FD: one mixed product by finite differences."""

from __future__ import annotations

from typing import ClassVar

from ..operation_registry import register_class
from .boat_operation import BoatOperation


@register_class
class FD(BoatOperation):
    """BOAT's operation FD."""

    operation: ClassVar[str] = "FD"
