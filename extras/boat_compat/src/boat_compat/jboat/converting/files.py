"""Reads JBOAT's JSON files from disk, so that errors name the file."""

from __future__ import annotations

import json
from pathlib import Path

from boat_core import ConfigError

from .._layer.source import Source


def read_json(path: Path) -> Source:
    """Return the content of a JSON file.

    Raises:
        ConfigError: it cannot be read, is no JSON (with the line), or holds no object.
    """
    try:
        content = json.loads(path.read_text("utf8"))
    except OSError as error:
        raise ConfigError(f"it cannot be read: {error.strerror}", place=str(path)) from None
    except json.JSONDecodeError as error:
        raise ConfigError(f"no JSON: {error.msg}", place=f"{path}:{error.lineno}") from None
    if not isinstance(content, dict):
        raise ConfigError(place=str(path), expected="a JSON object", got=type(content).__name__)
    return Source(str(path), content)


def folder_of_module(name: str, near: list[Path]) -> Path | None:
    """Return the folder from which a module can be imported: one of these, or a folder above one."""
    parts = Path(*name.split("."))
    for start in near:
        for folder in (start, *start.parents[:2]):
            if (folder / parts).with_suffix(".py").exists() or (folder / parts / "__init__.py").exists():
                return folder
    return None
