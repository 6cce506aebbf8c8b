"""CG: implicit differentiation, solved by conjugate gradient."""

from __future__ import annotations

from typing import ClassVar

from ..operation_registry import register_class
from .boat_operation import BoatOperation


@register_class
class CG(BoatOperation):
    """BOAT's operation CG."""

    operation: ClassVar[str] = "CG"
