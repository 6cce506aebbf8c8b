"""MESO: the Moreau envelope, in a single loop."""

from __future__ import annotations

from typing import ClassVar

from ..operation_registry import register_class
from .first_order import FirstOrder


@register_class
class MESO(FirstOrder):
    """BOAT's method MESO."""

    operation: ClassVar[str] = "MESO"
