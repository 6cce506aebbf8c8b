"""The one error of a run whose files cannot be written, such as on a full disk."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ..errors import RunError


class StorageError(RunError):
    """A file of a run cannot be written. What is in the folder stays as it is."""


@contextlib.contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn an error of the operating system into a `StorageError` that names the file."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error
