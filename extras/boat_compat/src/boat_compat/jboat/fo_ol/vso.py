"""VSO: the value function as a barrier."""

from __future__ import annotations

from typing import ClassVar

from ..operation_registry import register_class
from .first_order import FirstOrder


@register_class
class VSO(FirstOrder):
    """BOAT's method VSO."""

    operation: ClassVar[str] = "VSO"
