"""A complete distribution for a new operation, from the templates in `templates/`.

A template is a file whose name ends in `.in`. In its path and in its text `@name@` is replaced by the substitution of
that name. A pack gets the templates in `common` and those of its stage.
"""

from __future__ import annotations

import keyword
import os
import re
import shutil
from datetime import date
from pathlib import Path

from boat_core import HOOK_API, BoatError, Registry, __version__
from boat_core.testing import published_operations

#: The substitutions that differ from stage to stage.
_OF_STAGE = {
    "map": {"hook": "boat_map_operations", "usage": "  map: [@operation@]\n  approximate: [RAD]"},
    "approximate": {"hook": "boat_approximate_operations", "usage": "  map: [NGD]\n  approximate: [@operation@]"},
    "first-order": {"hook": "boat_first_order_operations", "usage": "  first_order: @operation@"},
}
STAGES = tuple(_OF_STAGE)
_TEMPLATES = Path(__file__).with_name("templates")
#: File names that the templates use themselves.
_RESERVED = ("plugin", "kernels", "tests")
_MARK = re.compile(r"@([a-z_]+)@")


def write_pack(name: str, stage: str, into: Path, registry: Registry) -> tuple[Path, list[str]]:
    """Write a pack for one operation, whole or not at all.

    Args:
        name: the name of the operation, such as NYSTROM. The name of the distribution, boat-nystrom, means the same.
        stage: map, approximate or first-order.
        into: the folder in which the folder of the pack, `boat-nystrom`, is created.
        registry: the installed operations. The new one must have another name.

    Returns:
        The folder of the pack, and the files in it.

    Raises:
        BoatError: the name is not valid or not free, or the folder exists or cannot be created.
    """
    substitutions = _substitutions(name, registry) | _OF_STAGE[stage]
    folder = into / substitutions["distribution"]
    partial = into / f".{folder.name}.{os.getpid()}.partial"
    try:
        if folder.exists():
            raise BoatError(f"{folder} exists; choose another NAME, or another place with --into FOLDER")
        files = [_write(partial, path, text, substitutions) for path, text in _templates(stage)]
        partial.rename(folder)
    except OSError as error:
        raise BoatError(f"{folder} cannot be made: {error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder, sorted(files)


def _substitutions(name: str, registry: Registry) -> dict[str, str]:
    """Return what the marks in the templates stand for."""
    file = re.sub(r"[-_.]+", "_", name.lower()).removeprefix("boat_")
    if not file.isascii() or not file.isidentifier() or keyword.iskeyword(file) or file in _RESERVED:
        raise BoatError(f"NAME: expected letters and digits, such as NYSTROM or MY_MAP (got {name!r})")
    operation = file.upper()
    owners = {known: distribution for distribution, names in published_operations().items() for known in names}
    owners |= dict.fromkeys(registry.aliases(), "a method's name")
    owners |= {entry.name: entry.distribution for entry in registry.entries}
    taken = {known.upper().replace("-", "_"): owner for known, owner in owners.items()}
    if operation in taken:
        raise BoatError(f"NAME: {operation} is taken ({taken[operation]}); choose another")
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
    """Return path and text of each template, without the ending of its name."""
    files = [(part, file) for part in ("common", stage) for file in sorted((_TEMPLATES / part).rglob("*.in"))]
    return [
        (file.relative_to(_TEMPLATES / part).as_posix().removesuffix(".in"), file.read_text("utf-8"))
        for part, file in files
    ]


def _write(folder: Path, path: str, text: str, substitutions: dict[str, str]) -> str:
    # A template is called "dot.gitignore" because builds leave out files whose names begin with a dot.
    path = _fill(path.replace("dot.", "."), substitutions)
    place = folder / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(_fill(text, substitutions), "utf-8")
    return path


def _fill(text: str, substitutions: dict[str, str]) -> str:
    while _MARK.search(text):  # a substitution may contain marks itself
        text = _MARK.sub(lambda match: substitutions[match[1]], text)
    return text
