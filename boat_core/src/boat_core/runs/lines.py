"""Files of JSON lines that only ever grow, and hold complete lines even if a write fails half-way."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from .._util.atomic import write_text
from .storage import storing


class LineFile:
    """Appends lines to a file.

    Raises:
        StorageError: the file cannot be opened or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with storing(path):
            self._file = path.open("ab", buffering=0)

    def append(self, text: str) -> None:
        """Append one line. If it does not fit on the disk, the file ends with the line before."""
        line = memoryview(f"{text}\n".encode())
        size = os.fstat(self._file.fileno()).st_size
        with storing(self._path):
            try:
                while line:
                    line = line[self._file.write(line) :]
            except OSError:
                with contextlib.suppress(OSError):
                    self._file.truncate(size)
                raise

    def sync(self) -> None:
        """Write to disk what was appended."""
        with storing(self._path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()


def append_line(path: Path, text: str) -> None:
    """Append one line to a file and write it to disk."""
    file = LineFile(path)
    try:
        file.append(text)
        file.sync()
    finally:
        file.close()


def read_lines(path: Path, key: str = "iteration") -> list[dict[str, Any]]:
    """Return the lines of a file, without one that was cut off at its end; none if there is no such file.

    Every line is an object that has `key`.
    """
    return [values for _, values in _complete_lines(path, key)]


def drop_cut_off(path: Path, key: str = "iteration") -> None:
    """Remove a line that was cut off at the end of a file, so that the next one does not continue it."""
    text = "".join(f"{line}\n" for line, _ in _complete_lines(path, key))
    if path.exists() and path.read_bytes() != text.encode():
        write_text(path, text)


def truncate_from(path: Path, iteration: int) -> None:
    """Remove the lines of `iteration` and later ones, and what was cut off. The other lines stay as they are."""
    kept = [text for text, values in _complete_lines(path, "iteration") if values["iteration"] < iteration]
    write_text(path, "".join(f"{text}\n" for text in kept))


def _complete_lines(path: Path, key: str) -> list[tuple[str, dict[str, Any]]]:
    """Read up to the first line that is not complete. After a power failure that can be one of NUL bytes."""
    complete: list[tuple[str, dict[str, Any]]] = []
    for text in path.read_text("utf-8", "replace").split("\n")[:-1] if path.exists() else []:
        try:
            values = json.loads(text)
        except ValueError:
            break
        if not isinstance(values, dict) or key not in values:
            break
        complete.append((text, values))
    return complete
