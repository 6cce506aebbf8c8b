"""Integers of Python and of numpy."""

from __future__ import annotations

import numbers
from typing import Any


def as_integer(value: Any) -> int | None:
    """Return an integer of Python or numpy as an `int`, and None for everything else. A truth value is no integer."""
    return int(value) if isinstance(value, numbers.Integral) and not isinstance(value, bool) else None
