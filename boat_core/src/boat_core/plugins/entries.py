"""What a registry lists: declarations with the distribution that provides them, packs set aside, and calls of hooks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..declare.operation import Operation
from .known_packs import publishes


class PackWarning(UserWarning):
    """A pack was set aside, or an observer was switched off."""


@dataclass(frozen=True)
class Registered:
    """An operation, and the distribution that provides it."""

    operation: Operation
    distribution: str
    version: str
    #: What to write in a configuration: the name, or `distribution:NAME` where two packs declare the name.
    address: str = ""

    @property
    def name(self) -> str:
        return self.operation.name

    @property
    def origin(self) -> str:
        """The name with the distribution and version that provide it."""
        return f"{self.name} ({self.distribution} {self.version})"

    @property
    def named(self) -> str:
        """The name, with distribution and version where users may not know which pack provides it."""
        return self.name if self.published else self.origin

    # An operation is a value: its copy is itself. `discovery.py` says how it is pickled.

    def __copy__(self) -> Registered:
        return self

    def __deepcopy__(self, memo: Any) -> Registered:
        return self

    @property
    def published(self) -> bool:
        """Whether this distribution is known to publish an operation of that name."""
        return publishes(self.distribution, self.name)


@dataclass(frozen=True)
class Declared:
    """An optimizer, problem, observer, executor, place or command, and the distribution that provides it."""

    declaration: Any
    distribution: str
    version: str

    @property
    def name(self) -> str:
        name: str = self.declaration.name
        return name

    @property
    def origin(self) -> str:
        """The distribution and version that provide it, with its name: how plugins are called in messages."""
        return f"{self.distribution} {self.version} ({self.name})"


@dataclass(frozen=True)
class Call:
    """A hook or an operation that ran, the pack it belongs to, and what it returned."""

    what: str
    distribution: str
    version: str
    gave: str = ""


@dataclass(frozen=True)
class BrokenPack:
    """A pack that was set aside: which one, why, and what to do. `more` holds further causes with their remedies."""

    distribution: str
    version: str
    entry_point: str
    cause: str
    remedy: str
    more: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} ({self.entry_point}) was set aside: {self.cause}. {self.remedy}"


Entry = Registered | Declared


def label(entries: Iterable[Entry], entry: Entry) -> str:
    """Return the name of an entry, or `distribution:NAME` where another distribution declares the same name."""
    distributions = {other.distribution for other in entries if other.name == entry.name}
    return entry.name if len(distributions) <= 1 else f"{entry.distribution}:{entry.name}"
