"""Name, version and requirements of installed distributions.

`importlib.metadata` parses metadata as e-mail, and `packaging` is slow to import. Neither is used where a plain look at
the text is enough, because every `boat` command reads the metadata of all packs.
"""

from __future__ import annotations

import re
from operator import eq, ge, gt, le, lt, ne
from typing import Any

CORE = "boat-core"
#: The name of a distribution whose metadata has none.
UNKNOWN = "unknown"


def identity(distribution: Any) -> tuple[str, str]:
    """Return the name of a distribution as pip writes it, and its version. Damaged metadata has neither."""
    try:
        headers = _headers(distribution)
        name = headers["Name"][0] if headers else distribution.name
        version = headers["Version"][0] if headers else distribution.version
        return _normalized(name), str(version)
    except Exception:
        return UNKNOWN, "0"


def requirements(distribution: Any) -> list[str]:
    """Return the requirements of a distribution, as they are written. Damaged metadata raises an exception."""
    headers = _headers(distribution)
    return headers.get("Requires-Dist", []) if headers else list(distribution.requires or [])


def _headers(distribution: Any) -> dict[str, list[str]]:
    """Return the headers of METADATA, or nothing where another kind of metadata must be asked."""
    read_text = getattr(distribution, "read_text", None)
    text = read_text("METADATA") if read_text else None
    headers: dict[str, list[str]] = {}
    for line in (text or "").splitlines():
        if not line.strip():  # the description follows
            break
        name, separator, value = line.partition(":")
        if separator and not line[0].isspace():
            headers.setdefault(name, []).append(value.strip())
    return headers


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


_NAME = re.compile(r"\s*([\w.-]+)\s*(?:\[[^\]]*\]\s*)?")
_PLAIN_RANGE = re.compile(r"\(?\s*((?:(?:==|!=|<=|>=|<|>)\s*\d+(?:\.\d+)*\s*,?\s*)+)\)?\s*")
_BOUND = re.compile(r"(==|!=|<=|>=|<|>)\s*([\d.]+)")
_COMPARE = {"==": eq, "!=": ne, "<=": le, ">=": ge, "<": lt, ">": gt}


def excluded_range(lines: list[str], version: str) -> str | None:
    """Return the version range of a requirement on the core that `version` is not in, or None where it fits all.

    Passed over are requirements that pip could not read, and those whose marker does not hold here because they are for
    another Python, another machine or an extra.
    """
    for line in lines:
        name = _NAME.match(line)
        if name is None or _normalized(name[1]) != CORE:
            continue
        plain = _PLAIN_RANGE.fullmatch(line, name.end())
        if plain and re.fullmatch(r"\d+(\.\d+)*", version):
            if not all(_COMPARE[sign](*_padded(version, bound)) for sign, bound in _BOUND.findall(plain[1])):
                return ",".join(f"{sign}{bound}" for sign, bound in _BOUND.findall(plain[1]))
            continue
        excluded = _excluded_by(line, version)
        if excluded is not None:
            return excluded
    return None


def _excluded_by(line: str, version: str) -> str | None:
    from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(line)
        holds = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    except (InvalidRequirement, UndefinedComparison, UndefinedEnvironmentName):
        return None
    fits = not holds or requirement.specifier.contains(version, prereleases=True)
    return None if fits else str(requirement.specifier)


def _padded(one: str, other: str) -> tuple[list[int], list[int]]:
    """Return two versions as lists of equal length, because 0.1 is 0.1.0."""
    first, second = ([int(part) for part in text.split(".") if part] for text in (one, other))
    length = max(len(first), len(second))
    return first + [0] * (length - len(first)), second + [0] * (length - len(second))
