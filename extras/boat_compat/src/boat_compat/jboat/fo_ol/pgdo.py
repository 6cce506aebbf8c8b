"""PGDO: a penalty on the lower optimality gap."""

from __future__ import annotations

from typing import ClassVar

from ..operation_registry import register_class
from .first_order import FirstOrder


@register_class
class PGDO(FirstOrder):
    """BOAT's method PGDO."""

    operation: ClassVar[str] = "PGDO"
