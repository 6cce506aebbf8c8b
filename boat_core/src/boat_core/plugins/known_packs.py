"""The packs that this project publishes, installed or not: `known_packs.txt`.

The list says what to install for a name that is missing. It has one more use: where the declarations of two packs
compete and nothing else decides, the pack that is known for the operation wins. So a pack that declares a second
default, or a method's name that is in use, changes no solver that users have.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T", bound=Any)


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


def publishes(distribution: str, operation: str) -> bool:
    """Whether that distribution is known to publish an operation of that name."""
    return publisher("operation", operation) == distribution


def settle(entries: Sequence[T]) -> list[T]:
    """Return the entries that remain of several that compete: those of known packs, or all if there are none."""
    if len(entries) < 2:
        return list(entries)
    return [entry for entry in entries if entry.published] or list(entries)
