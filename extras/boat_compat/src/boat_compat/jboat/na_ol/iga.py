"""IGA: implicit differentiation by a Gauss-Newton outer product."""

from __future__ import annotations

from typing import ClassVar

from ..operation_registry import register_class
from .boat_operation import BoatOperation


@register_class
class IGA(BoatOperation):
    """BOAT's operation IGA."""

    operation: ClassVar[str] = "IGA"
