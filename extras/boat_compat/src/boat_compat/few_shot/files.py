"""A tree of images, in a folder or in a zip archive, which is read without being unpacked."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .errors import DataError
from .images import is_image


@dataclass(frozen=True)
class Tree:
    """Images by relative path.

    Args:
        place: The folder or archive, for errors.
        names: The relative paths of the images, with "/", sorted.
        read: A function `(name) -> bytes`.
    """

    place: str
    names: tuple[str, ...]
    read: Callable[[str], bytes]

    def below(self, folder: str) -> Tree:
        """Return the tree below a folder of this one."""
        start = f"{folder}/"
        names = tuple(name[len(start) :] for name in self.names if name.startswith(start))
        return Tree(f"{self.place}/{folder}", names, lambda name: self.read(start + name))

    @property
    def folders(self) -> list[str]:
        """The names of the topmost folders."""
        return sorted({name.partition("/")[0] for name in self.names if "/" in name})


def folder_tree(folder: Path, depth: int) -> Tree:
    """Return the images that lie exactly `depth` folders below a folder."""
    paths = (path.relative_to(folder).as_posix() for path in folder.glob("/".join(["*"] * (depth + 1))))
    # Names are sorted, so that nothing depends on the order in which a file system lists them.
    names = tuple(sorted(name for name in paths if is_image(name)))
    return Tree(str(folder), names, lambda name: read_file(folder / name))


def read_file(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})", where="data") from error


def zip_tree(path: Path) -> Tree:
    """Return the images of a zip archive.

    Raises:
        DataError: the file is no zip archive.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as a zip archive ({error})", where="data") from error

    def read(name: str) -> bytes:
        try:
            return archive.read(name)
        except Exception as error:  # a damaged entry, or one that is encrypted
            raise DataError(f"{name} in {path} cannot be read ({error})", where="data") from error

    return Tree(str(path), tuple(sorted(name for name in archive.namelist() if is_image(name))), read)


def existing(path: str | Path) -> Path:
    """Return the path, which must exist.

    Raises:
        DataError: nothing is there. The message names what lies beside.
    """
    path = Path(path).expanduser()
    if path.exists():
        return path
    beside = sorted(entry.name for entry in path.parent.iterdir()) if path.parent.is_dir() else []
    hint = f"{path.parent} holds {', '.join(beside[:8]) or 'nothing'}" if path.parent.is_dir() else None
    raise DataError(where="data", expected="a folder or a zip archive that exists", got=str(path), hint=hint)
