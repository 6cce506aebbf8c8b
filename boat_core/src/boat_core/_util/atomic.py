"""Write files that are either complete or absent: text, JSON and arrays."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, cast

#: What a file system answers that cannot sync a folder, or does not let us open it. There is no remedy.
_NOT_SYNCABLE = {errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM}


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Call `write` with a file that replaces `path` once it is complete and on disk. After an error nothing changed.

    Raises:
        OSError: the file cannot be written.
    """
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        sync_folder(path.parent.parent)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            steady = _SteadyFile(file)
            write(cast("IO[bytes]", steady))
            if steady.error is not None:
                raise steady.error
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    # Without this a power failure can undo the rename, and with it a file that was reported as written.
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Write the entries of a folder to disk: the names of its files, as they were created, renamed and removed."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NOT_SYNCABLE:
            raise


class _SteadyFile:
    """A file that keeps the first error of the disk for later, and from then on only counts what is written.

    Writers of archives cannot cope with a write that fails: numpy's reports its own confusion instead of the full disk,
    and leaves an object behind that complains again when it is collected.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.error: OSError | None = None
        self._file = file
        self._position = self._end = 0

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self._attempt(self._file.write, data)
        self._position += size
        self._end = max(self._end, self._position)
        return size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._end}[whence]
        self._attempt(self._file.seek, self._position)
        return self._position

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        self._attempt(self._file.flush)

    def read(self, size: int = -1) -> bytes:
        raise OSError("the file is open for writing")  # numpy takes what has this method for a file

    def _attempt(self, call: Callable[..., object], *arguments: Any) -> None:
        if self.error is None:
            try:
                call(*arguments)
            except OSError as error:
                self.error = error


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, completely or not at all."""
    write_atomically(path, lambda file: file.write(text.encode("utf-8")))


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, completely or not at all."""
    write_text(path, json_text(value, indent=2) + "\n")


def json_text(value: Any, indent: int | None = None) -> str:
    """Return strict JSON: dataclasses as objects, NaN and infinities as the strings "nan", "inf" and "-inf"."""
    return json.dumps(plain(value), indent=indent, allow_nan=False, ensure_ascii=False)


def plain(value: Any) -> Any:
    """Return a value in the types of strict JSON. A value that has no such form becomes its text."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, int):
        return int(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays, without importing numpy
        return plain(value.tolist())
    return str(value)
