"""Marks the functions through which operations run code that is not theirs.

An operation calls the user's objectives and projections, and the optimizer of another pack. An error that comes through
one of these functions is not the operation's fault, so it must not be blamed on the pack that provides it.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_CODE: set[int] = set()


def runs_user_code(function: F) -> F:
    """Mark a function that calls code of the user or of another pack; return it unchanged."""
    _CODE.add(id(function.__code__))
    return function


def is_user_code(code: CodeType) -> bool:
    """Say whether a frame of this code runs what is not the operation's own."""
    return id(code) in _CODE
