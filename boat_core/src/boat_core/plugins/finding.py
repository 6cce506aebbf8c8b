"""One thing that is wrong with an installed distribution."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What is wrong, in which distribution, and what to do.

    Args:
        distribution, version: the distribution, as pip writes its name.
        what: the fault, without a full stop.
        remedy: what its user or its author can do.
    """

    distribution: str
    version: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}: {self.what}. {self.remedy}"
