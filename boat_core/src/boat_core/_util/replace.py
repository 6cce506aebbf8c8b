"""Put a file or link in place by a rename, so that no other process ever sees half of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def replace_file(place: Path, write: Callable[[Path], object]) -> None:
    """Have `write` make a file or link under a temporary name, then rename it to `place`.

    Several processes may do this at once: the last one wins, with the same content. It is for what can be made again.
    `boat_core._util.atomic` is for what must also survive a power failure.

    Raises:
        OSError: nothing changes at `place`.
    """
    fresh = place.with_name(f".{place.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    try:
        write(fresh)
        os.replace(fresh, place)
    finally:
        fresh.unlink(missing_ok=True)
