"""IAD: the upper variables are the start of the lower trajectory."""

from __future__ import annotations

from typing import ClassVar

from ..operation_registry import register_class
from .boat_operation import BoatOperation


@register_class
class IAD(BoatOperation):
    """BOAT's operation IAD."""

    operation: ClassVar[str] = "IAD"
