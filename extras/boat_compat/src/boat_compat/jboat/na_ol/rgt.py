"""RGT: the pullback through the last lower steps."""

from __future__ import annotations

from typing import ClassVar

from ..operation_registry import register_class
from .boat_operation import BoatOperation


@register_class
class RGT(BoatOperation):
    """BOAT's operation RGT."""

    operation: ClassVar[str] = "RGT"
