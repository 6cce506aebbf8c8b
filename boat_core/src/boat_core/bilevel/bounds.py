"""Bounds of a variable: what `Problem.project_lower` and `Problem.project_upper` may be."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autodiff.arrays import refuse_mask
from ..errors import StructureError, shown

#: Bounds (low, high), where either may be None, or a function that takes a pytree and returns the projected pytree.
Projection = tuple[Any, Any] | Callable[[Any], Any]
_EXPECTED = "a pair of bounds (low, high) with low <= high, where None is no bound, or a function"


def read_projection(projection: Any, where: str) -> Projection | None:
    """Return bounds as a tuple of numbers, None and arrays, and everything else as it is.

    An array, of numpy or of Jittor, bounds each leaf of the pytree as it is broadcast against it.

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
    if bound is None:
        return None
    if hasattr(bound, "shape") and hasattr(bound, "dtype") and bound.shape:
        refuse_mask(bound, where)
        if np.asarray(_values(bound)).dtype.kind in "fiu" and not np.isnan(_values(bound)).any():
            return bound
    elif isinstance(bound, numbers.Real) and not isinstance(bound, bool) and not math.isnan(bound):
        return float(bound) if not isinstance(bound, int) else bound
    raise StructureError(where=where, expected=_EXPECTED, got=shown(projection))


def _values(bound: Any) -> Any:
    return bound.numpy() if hasattr(bound, "numpy") else bound


def _is_above(low: Any, high: Any) -> bool:
    if low is None or high is None:
        return False
    low, high = _values(low), _values(high)
    try:
        return bool(np.any(low > high))
    except ValueError:  # shapes that do not fit each other belong to different leaves
        return False
