"""One pack, looked at without running its operations: metadata, plugin, sources, declarations."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..declare.operation import ACTING, ROLES, undeclared
from ..declare.options import describe_options
from ..errors import nearest
from ..plugins.discovery import CORE, identity
from ..plugins.entries import Registered
from ..plugins.known_packs import published_operations
from ..plugins.registry import Registry
from .finding import Finding
from .sources import early_jittor, private_names


def of_metadata(distribution: Any) -> Iterator[Finding]:
    """What pip and an upgrade of the core need to know."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.version import InvalidVersion, Version

    def finding(what: str, remedy: str) -> Finding:
        return Finding(*identity(distribution), what, remedy)

    try:
        required, licences = distribution.requires or [], distribution.metadata.get_all("License-File")
    except Exception:  # it is set aside for that, which is a finding of its own
        return
    try:
        Version(str(distribution.version))
    except InvalidVersion:
        yield finding(f"its version is {distribution.version!r}", "Write one such as 0.1.0 into pyproject.toml")
    ranges = []
    for line in required:
        try:
            requirement = Requirement(line)
        except InvalidRequirement as error:
            yield finding(f"it requires {line!r}, which pip cannot read ({error})", "Mend its dependencies")
            continue
        if requirement.name.replace("_", "-").lower() == CORE:
            ranges.append(requirement.specifier)
    bound = f'Write dependencies = ["{CORE}>=0.1,<0.2"]: it is then set aside before a core that it does not know'
    if not ranges:
        yield finding(f"it does not require {CORE}", bound)
    elif not any(part.operator in ("<", "<=", "==", "~=", "===") for specifier in ranges for part in specifier):
        yield finding(f"it requires {CORE} without an upper bound", bound)
    if not (licences or distribution.metadata.get("License-Expression")):
        yield finding("it has no licence", 'Write license = "MIT" and license-files = ["LICENSE"]')


def of_sources(point: Any) -> Iterator[Finding]:
    """What its files import, and the marker of types."""
    name, version = identity(point.dist)
    folder = package_folder(point)
    if folder is None:
        return
    for place in private_names(folder):
        where = f"{place.file.relative_to(folder.parent)}:{place.line}"
        yield Finding(
            name, version, f"{where} uses {place.what}, which is not public", "Use a name of boat_core.__all__"
        )
    for place in early_jittor(folder):
        where = f"{place.file.relative_to(folder.parent)}:{place.line}"
        what = f"{where} imports Jittor when it is imported: every listing then starts, and perhaps compiles, Jittor"
        yield Finding(name, version, what, "Import it inside the functions that need it")
    if not (folder / "py.typed").exists():
        yield Finding(name, version, "it has no py.typed: type checkers take its names for Any", "Add an empty one")


def package_folder(point: Any) -> Path | None:
    """Where the top package of an entry point lies."""
    try:
        spec = importlib.util.find_spec(point.module.split(".")[0])
    except (ImportError, ValueError):
        return None
    places = list(spec.submodule_search_locations or []) if spec else []
    return Path(places[0]) if places else None


def of_operation(entry: Registered, packs: Registry) -> Iterator[Finding]:
    """What a declaration leaves unsaid, or says of things that there are not."""
    operation = entry.operation

    def finding(what: str, remedy: str) -> Finding:
        return Finding(entry.distribution, entry.version, f"operation {entry.name}: {what}", remedy)

    for row in describe_options(operation.options):
        if not row["doc"]:
            yield finding(f"option {row['name']!r} is not explained", "Declare it with option(…, doc=…)")
    if operation.role in ACTING and operation.cost is undeclared:
        yield finding("it declares no cost, so it counts as free, and as taking second derivatives", "Give it a cost")
    if operation.apply and not inspect.getdoc(inspect.getmodule(operation.apply)):
        yield finding("its module has no docstring, which `boat ops show` prints", "Write formula and source there")
    names = {e.name for e in packs.entries} | {name for known in published_operations().values() for name in known}
    words = names.union(*ROLES.values(), *(e.operation.tags for e in packs.entries))
    meant = {
        "needs": (names, [name for need in operation.needs for name in need.names]),
        "excludes": (words, [w for rule in operation.excludes for w in (*rule.what, *rule.unless)]),
        "claims": (words, list(operation.claims)),
        "aliases": (names, [name for alias in operation.aliases for name in alias.operations]),
    }
    for field, (known, used) in meant.items():
        for word in used:
            if word not in known:
                near = nearest(word, known)
                yield finding(f"its {field} name {word!r}, and nothing goes by that{near}", "Mend the name")
    for kernel in operation.kernels:
        if not kernel.source.is_file():
            what = f"the source of its kernel {kernel.name} is not there: {kernel.source}"
            yield finding(what, "Put it into the wheel")
