"""Which distribution publishes what, installed or not. An absent name is answered with what to install.

The facts are data, in `known_packs.txt`.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=1)
def _published() -> dict[tuple[str, str], str]:
    """Return (kind, name) -> distribution, in the order of the file."""
    text = Path(__file__).with_name("known_packs.txt").read_text("utf-8")
    published: dict[tuple[str, str], str] = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        distribution, *entries = line.split()
        for entry in entries:
            kind, _, name = entry.rpartition(":")
            published[kind or "operation", name.replace(".", " ")] = distribution
    return published


@lru_cache(maxsize=1)
def published_operations() -> dict[str, list[str]]:
    """Return the distributions that publish operations, each with the names of these."""
    operations: dict[str, list[str]] = {}
    for (kind, name), distribution in _published().items():
        if kind == "operation":
            operations.setdefault(distribution, []).append(name)
    return operations


def published_names(kind: str) -> list[str]:
    """Return the published names of one kind, such as "observer" or "command"."""
    return [name for known, name in _published() if known == kind]


def publisher(kind: str, name: str) -> str | None:
    """Return the distribution that publishes this name of this kind, or None where nobody is known to."""
    return _published().get((kind, name))
