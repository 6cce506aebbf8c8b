"""The entry points of installed packs, by the names that users know."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions

GROUP = "boat"


@dataclass(frozen=True)
class Pack:
    """One entry point of an installed distribution."""

    distribution: Distribution
    point: EntryPoint
    name: str
    version: str

    @property
    def names(self) -> tuple[str, ...]:
        """The names by which the command knows it: distribution, package and entry point."""
        return self.name, self.package, self.point.name

    @property
    def package(self) -> str:
        """The top package of the module that the entry point names."""
        return self.point.value.partition(":")[0].split(".")[0]


def normalized(name: str) -> str:
    """Return the name of a distribution as pip writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_packs() -> Iterator[Pack]:
    """Yield every entry point of the group "boat", except those whose metadata cannot be read."""
    seen = set()
    for distribution in distributions():
        try:
            text = distribution.read_text("entry_points.txt")
            if not text or f"[{GROUP}]" not in text.replace(" ", ""):
                continue
            name, version = normalized(distribution.metadata["Name"]), str(distribution.version)
            points = [point for point in distribution.entry_points if point.group == GROUP]
        except Exception:  # the registry has set that distribution aside and says why
            continue
        if name not in seen:  # the first one on the path is the one that Python imports
            seen.add(name)
            yield from (Pack(distribution, point, name, version) for point in points)
