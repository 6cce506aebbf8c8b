"""The packs that this project publishes, installed or not: `known_packs.txt`.

The list says what to install for an operation that is missing. It has one more use: where the declarations of two
packs compete and nothing else decides, the pack that is known for the operation wins. So a pack that declares a second
default, or a method's name that is in use, changes no solver that users have.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from typing import Any, TypeVar

T = TypeVar("T", bound=Any)


@lru_cache(maxsize=1)
def published_operations() -> dict[str, list[str]]:
    """Return the operations that each known distribution publishes."""
    text = resources.files("boat_core.plugins").joinpath("known_packs.txt").read_text("utf-8")
    rows = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {distribution: names for distribution, *names in rows}


def publishes(distribution: str, operation: str) -> bool:
    """Whether that distribution is known to publish an operation of that name."""
    return operation in published_operations().get(distribution, ())


def settle(entries: Sequence[T]) -> list[T]:
    """Return the entries that remain of several that compete: those of known packs, or all if there are none."""
    if len(entries) < 2:
        return list(entries)
    return [entry for entry in entries if entry.published] or list(entries)
