"""The error of this room."""

from __future__ import annotations

from ..errors import BoatError


class RuntimeSetupError(BoatError, RuntimeError):
    """This machine cannot run Jittor as asked. The message says what was expected, what is there, and what to do."""
