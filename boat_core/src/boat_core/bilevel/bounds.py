"""Bounds of a variable: what `Problem.project_lower` and `Problem.project_upper` may be."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any

from ..errors import StructureError, shown

#: Bounds (low, high), where either may be None, or a function that takes a pytree and returns the projected pytree.
Projection = tuple[Any, Any] | Callable[[Any], Any]
_EXPECTED = "a pair of bounds (low, high) with low <= high, where None is no bound, or a function"


def read_projection(projection: Any, where: str) -> Projection | None:
    """Return bounds as a tuple of numbers, None and arrays, and everything else as it is.

    Raises:
        StructureError: it is neither a function nor a pair, a bound is a NaN or no number, or low is above high.
    """
    if projection is None or (callable(projection) and not hasattr(projection, "dtype")):
        return projection
    if not isinstance(projection, (list, tuple)) or len(projection) != 2:
        raise StructureError(where=where, expected=_EXPECTED, got=shown(projection))
    low, high = (_bound(bound, projection, where) for bound in projection)
    if _is_above(low, high):
        raise StructureError("low is above high", where=where, expected=_EXPECTED, got=shown(projection))
    return low, high


def _bound(bound: Any, projection: Any, where: str) -> Any:
    if bound is None or (hasattr(bound, "shape") and hasattr(bound, "numpy")):  # an array of Jittor
        return bound
    if not isinstance(bound, numbers.Real) or isinstance(bound, bool) or math.isnan(bound):
        raise StructureError(where=where, expected=_EXPECTED, got=shown(projection))
    return float(bound) if not isinstance(bound, int) else bound


def _is_above(low: Any, high: Any) -> bool:
    return isinstance(low, numbers.Real) and isinstance(high, numbers.Real) and low > high
