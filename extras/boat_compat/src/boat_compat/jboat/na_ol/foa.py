"""FOA: pullbacks without second derivatives."""

from __future__ import annotations

from typing import ClassVar

from ..operation_registry import register_class
from .boat_operation import BoatOperation


@register_class
class FOA(BoatOperation):
    """BOAT's operation FOA."""

    operation: ClassVar[str] = "FOA"
