"""`boat ops new`: a complete distribution for an operation of one's own, from the templates beside this file.

A template is a file whose name ends in `.in`; `@word@` in its path and its text stands for one of `words`. Templates of
the stage are added to those common to all.
"""

from __future__ import annotations

import keyword
import os
import re
import shutil
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import BoatError
from ..plugins.known_packs import published_operations
from ..plugins.registry import Registry

#: What differs between the stages in the templates that are common to all.
_OF_STAGE = {
    "map": {"hook": "boat_map_operations", "usage": "  map: [@operation@]\n  approximate: [RAD]"},
    "approximate": {"hook": "boat_approximate_operations", "usage": "  map: [NGD]\n  approximate: [@operation@]"},
    "first-order": {"hook": "boat_first_order_operations", "usage": "  first_order: @operation@"},
}
_TAKEN = ("plugin", "kernels", "tests")
_WORD = re.compile(r"@([a-z_]+)@")


def write_pack(name: str, stage: str, into: Path, packs: Registry) -> tuple[Path, list[str]]:
    """Write a pack for an operation, whole or not at all.

    Args:
        name: of the operation, such as NYSTROM (or of the distribution, boat-nystrom: the same).
        stage: map, approximate or first-order.
        into: the folder in which the pack's own, `boat-nystrom`, is made.

    Returns:
        The pack's folder and the files in it.

    Raises:
        BoatError: the name is not one, or taken by an operation; the folder exists, or cannot be made.
    """
    words = _words(name, packs) | _OF_STAGE[stage]
    folder = into / words["distribution"]
    if folder.exists():
        raise BoatError(f"{folder} exists; choose another NAME, or another place with --into FOLDER")
    partial = into / f".{folder.name}.{os.getpid()}.partial"
    try:
        files = [_write(partial, path, text, words) for path, text in _templates(stage)]
        partial.rename(folder)
    except OSError as error:
        raise BoatError(f"{folder} cannot be made: {error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder, sorted(files)


def _words(name: str, packs: Registry) -> dict[str, str]:
    """What stands for what in the templates."""
    file = re.sub(r"[-_.]+", "_", name.lower()).removeprefix("boat_")
    if not file.isascii() or not file.isidentifier() or keyword.iskeyword(file) or file in _TAKEN:
        raise BoatError(f"NAME: expected letters and digits, such as NYSTROM or MY_MAP (got {name!r})")
    operation = file.upper()
    known = {n: d for d, names in published_operations().items() for n in names}
    known |= dict.fromkeys(packs.aliases(), "a method's name")
    known |= {entry.name: entry.distribution for entry in packs.entries}
    taken = {n.upper().replace("-", "_"): whose for n, whose in known.items()}
    if operation in taken:
        raise BoatError(f"NAME: {operation} is taken ({taken[operation]}); choose another")
    from .. import __version__
    from ..plugins.hookspecs import HOOK_API

    major, minor = __version__.split(".")[:2]
    return {
        "operation": operation,
        "file": file,
        "module": f"boat_{file}",
        "distribution": f"boat-{file.replace('_', '-')}",
        "class": "".join(part.capitalize() for part in file.split("_")),
        "year": str(date.today().year),
        "core": f">={major}.{minor},<{major}.{int(minor) + 1}",
        "hook_api": str(HOOK_API),
    }


def _templates(stage: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for part in ("common", stage):
        _collect(resources.files(__name__) / "templates" / part, "", found)
    return found


def _collect(folder: Any, path: str, found: list[tuple[str, str]]) -> None:
    for item in folder.iterdir():
        place = f"{path}/{item.name}".lstrip("/")
        if item.is_dir():
            _collect(item, place, found)
        elif place.endswith(".in"):
            found.append((place.removesuffix(".in"), item.read_text("utf-8")))


def _write(folder: Path, path: str, text: str, words: dict[str, str]) -> str:
    # A template's name that begins with a dot would not be found in the wheel.
    path = _filled(path.replace("dot.", "."), words)
    place = folder / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(_filled(text, words), "utf-8")
    return path


def _filled(text: str, words: dict[str, str]) -> str:
    while _WORD.search(text):  # a word may stand for text with words in it
        text = _WORD.sub(lambda match: words[match[1]], text)
    return text
