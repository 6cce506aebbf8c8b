"""Names that two installed packs claim, and kernels that did not compile on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..declare.named import CommandDeclaration
from .entries import label
from .finding import Finding
from .registry import Registry


def conflicts(registry: Registry) -> Iterator[Finding]:
    """Yield a finding for every name that two distributions declare.

    Such a name does no harm until it is used without the name of its distribution.
    """
    for entry in registry.entries:
        if registry.label(entry) != entry.name:
            yield _twin(entry, "operation")
    for declared in registry.declared:
        kind = declared.declaration.kind
        twins = [other for other in registry.declared if other.declaration.kind == kind]
        if kind != CommandDeclaration.kind and label(twins, declared) != declared.name:
            yield _twin(declared, kind)
    unambiguous = registry.aliases()
    for entry in registry.entries:
        for alias in entry.operation.aliases:
            if unambiguous.get(alias.name) != alias:
                what = f"its method {alias.name!r} means {alias}, and another pack means something else by that name"
                remedy = "Write out the operations; its author: rename the method"
                yield Finding(entry.distribution, entry.version, what, remedy)


def _twin(entry: Any, kind: str) -> Finding:
    what = f"{kind} {entry.name!r} is declared by another pack as well"
    return Finding(entry.distribution, entry.version, what, f"Write {entry.distribution}:{entry.name} for this one")


def uncompiled(registry: Registry) -> Iterator[Finding]:
    """Yield a finding for every kernel source that did not compile on this machine."""
    from ..autodiff.operators import library
    from ..runtime import built_core

    core = built_core()
    sources: dict[Path, list[Any]] = {}
    for entry in registry.entries:
        for kernel in entry.operation.kernels:
            sources.setdefault(kernel.source, []).append((entry, kernel))
    for source, users in sources.items():
        if core is not None and (reason := library.failure(core, source)):
            entry = users[0][0]
            names = ", ".join(dict.fromkeys(kernel.name for _, kernel in users))
            what = f"kernels {names} of {source} did not compile: {reason}"
            yield Finding(entry.distribution, entry.version, what, _SLOWER)


_SLOWER = "Plain operators do their work, slower, with the same numbers"
