"""How the installed packs stand beside each other: names that two of them claim, kernels that did not compile here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..plugins.entries import label
from ..plugins.registry import Registry
from .finding import Finding


def conflicts(packs: Registry) -> Iterator[Finding]:
    """Names that more than one distribution declares: harmless until one is used without its distribution."""
    for entry in packs.entries:
        if packs.label(entry) != entry.name:
            yield _twin(entry, "operation")
    for declared in packs.declared:
        kind = declared.declaration.kind
        if label([d for d in packs.declared if d.declaration.kind == kind], declared) != declared.name:
            yield _twin(declared, kind)
    unambiguous = packs.aliases()
    for entry in packs.operations():
        for alias in entry.operation.aliases:
            if unambiguous.get(alias.name) != alias:
                what = f"its method {alias.name!r} means {alias}, and another pack means something else by that name"
                yield Finding(
                    entry.distribution, entry.version, what, "Write out the operations; its author: rename it"
                )


def _twin(entry: Any, kind: str) -> Finding:
    what = f"{kind} {entry.name!r} is declared by another pack as well"
    return Finding(entry.distribution, entry.version, what, f"Write {entry.distribution}:{entry.name} for this one")


def uncompiled(packs: Registry) -> Iterator[Finding]:
    """Kernels whose source did not compile on this machine: plain operators do their work."""
    from ..runtime import built_core, native

    core = built_core()
    sources: dict[Path, list[Any]] = {}
    for entry in packs.entries:
        for kernel in entry.operation.kernels:
            sources.setdefault(kernel.source, []).append((entry, kernel))
    for source, users in sources.items():
        if core is not None and (why := native.failure(core, source)):
            entry = users[0][0]
            names = ", ".join(dict.fromkeys(kernel.name for _, kernel in users))
            yield Finding(
                entry.distribution, entry.version, f"kernels {names} of {source} did not compile: {why}", _SLOWER
            )


_SLOWER = "Plain operators do their work, slower, with the same numbers"
