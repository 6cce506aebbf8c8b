"""The one error of this room: this machine, as it is, cannot run Jittor the way it was asked to."""

from __future__ import annotations

from ..errors import BoatError


class RuntimeSetupError(BoatError, RuntimeError):
    """Says what was expected, what was found, and what to do about it."""
