"""VFO: value-function descent with a dynamic barrier."""

from __future__ import annotations

from typing import ClassVar

from ..operation_registry import register_class
from .first_order import FirstOrder


@register_class
class VFO(FirstOrder):
    """BOAT's method VFO."""

    operation: ClassVar[str] = "VFO"
