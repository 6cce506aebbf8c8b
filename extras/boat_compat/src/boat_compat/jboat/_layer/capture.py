"""Who is told when a script reaches its first `run_iter`: the reader of a script, who then ends it."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

#: Called with the problem and both feeds. It does not return.
reached: ContextVar[Callable[[Any, Any, Any], None] | None] = ContextVar("boat_compat_reached", default=None)
