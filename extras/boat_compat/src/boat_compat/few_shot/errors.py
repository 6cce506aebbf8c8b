"""The error of data on disk."""

from __future__ import annotations

from boat_core import BoatError


class DataError(BoatError):
    """A folder, archive or file does not hold what is expected. The message names it, and the nearest layout."""
