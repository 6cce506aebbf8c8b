"""One thing that is not as it should be."""

from __future__ import annotations

from dataclasses import dataclass

from ..plugins.entries import BrokenPack


@dataclass(frozen=True)
class Finding:
    """What is amiss in which distribution, and what to do."""

    distribution: str
    version: str
    what: str
    remedy: str

    @classmethod
    def of(cls, pack: BrokenPack) -> list[Finding]:
        """All that a pack was set aside for."""
        causes = ((pack.cause, pack.remedy), *pack.more)
        return [cls(pack.distribution, pack.version, f"set aside: {cause}", remedy) for cause, remedy in causes]

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}: {self.what}. {self.remedy}"
