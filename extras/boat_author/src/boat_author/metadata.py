"""The metadata of a pack: what pip and an upgrade of the core need to know."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from boat_core.testing import Finding

from .packs import Pack, normalized

CORE = "boat-core"
_BOUND = f'Write dependencies = ["{CORE}>=0.1,<0.2"]: it is then set aside before a core that it does not know'


def check_metadata(pack: Pack) -> Iterator[Finding]:
    """Yield what is wrong with version, requirements and licence."""

    def finding(what: str, remedy: str) -> Finding:
        return Finding(pack.name, pack.version, what, remedy)

    try:
        requirements = pack.distribution.requires or []
        metadata = pack.distribution.metadata
        licences = [*(metadata.get_all("License-File") or ()), *(metadata.get_all("License-Expression") or ())]
    except Exception:  # the pack is set aside for that, which is a finding of its own
        return
    try:
        Version(pack.version)
    except InvalidVersion:
        yield finding(f"its version is {pack.version!r}", "Write one such as 0.1.0 into pyproject.toml")
    ranges = []
    for line in requirements:
        try:
            requirement = Requirement(line)
            holds = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        except (InvalidRequirement, UndefinedComparison, UndefinedEnvironmentName) as error:
            yield finding(f"it requires {line!r}, which pip cannot read ({error})", "Mend its dependencies")
            continue
        if normalized(requirement.name) == CORE and holds:
            ranges.append(requirement.specifier)
    if not ranges:
        yield finding(f"it does not require {CORE}", _BOUND)
    elif not any(part.operator in ("<", "<=", "==", "~=", "===") for specifier in ranges for part in specifier):
        yield finding(f"it requires {CORE} without an upper bound", _BOUND)
    if not licences:
        yield finding("it has no licence", 'Write license = "MIT" and license-files = ["LICENSE"]')
