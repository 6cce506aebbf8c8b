"""NS: implicit differentiation by a Neumann series."""

from __future__ import annotations

from typing import ClassVar

from ..operation_registry import register_class
from .boat_operation import BoatOperation


@register_class
class NS(BoatOperation):
    """BOAT's operation NS."""

    operation: ClassVar[str] = "NS"
