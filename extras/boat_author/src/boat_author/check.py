"""`boat ops check [PACK]`: hold packs to everything that is asked of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from typing import Any

from boat_core import BoatError, Registry, installed
from boat_core.cli import print_json
from boat_core.testing import Finding, NotTried, conflicts, unclaimed_checks, uncompiled

from .declarations import check_operation
from .metadata import check_metadata
from .packs import Pack, installed_packs, normalized
from .sources import check_sources


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("pack", metavar="PACK", nargs="?", help="distribution, package or entry point; else all")
    parser.add_argument("--quick", action="store_true", help="only what is seen without running operations")


def run(arguments: argparse.Namespace) -> int:
    """Print one line for each finding, and return 1 if there are any."""
    registry = installed()
    packs, damaged = _chosen(registry, arguments.pack)
    findings = [finding for pack in damaged for finding in _set_aside(pack)]
    findings += _findings(packs, registry, arguments.quick)
    names = sorted({pack.distribution for pack in damaged} | {pack.name for pack in packs})
    if arguments.json:
        print_json({"packs": names, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            print(finding)
        print(f"{_count(len(names), 'pack')} checked, {_count(len(findings), 'finding') if findings else _NOTHING}.")
    return 1 if findings else 0


_NOTHING = "nothing amiss"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _chosen(registry: Registry, name: str | None) -> tuple[list[Pack], list[Any]]:
    """Return the packs of this name, or all, and those whose entry points cannot be read.

    Raises:
        BoatError: no installed pack has that name; with the nearest.
    """
    known = list(installed_packs())
    readable = {pack.name for pack in known}
    damaged = [pack for pack in registry.broken if pack.distribution not in readable]
    if name is None:
        return known, damaged
    packs = [pack for pack in known if normalized(name) in map(normalized, pack.names)]
    damaged = [pack for pack in damaged if pack.distribution == normalized(name)]
    if not packs and not damaged:
        names = {known_name for pack in known for known_name in pack.names}
        raise BoatError(f"no pack {name!r} is installed{_nearest(name, names)}")
    return packs, damaged


def _nearest(name: str, names: set[str]) -> str:
    close = get_close_matches(name.lower(), sorted(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; valid: {', '.join(sorted(names))}" if names else ""


def _set_aside(pack: Any) -> list[Finding]:
    """Return a finding for each reason for which a pack was set aside."""
    causes = ((pack.cause, pack.remedy), *pack.more)
    return [Finding(pack.distribution, pack.version, f"set aside: {cause}", remedy) for cause, remedy in causes]


def _findings(packs: Sequence[Pack], registry: Registry, quick: bool) -> Iterator[Finding]:
    names = {pack.name for pack in packs}
    for pack in packs:
        yield from check_metadata(pack)
        yield from check_sources(pack)
        for broken in registry.broken:
            if (broken.distribution, broken.entry_point) == (pack.name, pack.point.name):
                yield from _set_aside(broken)
    yield from (finding for finding in conflicts(registry) if finding.distribution in names)
    entries = [entry for entry in registry.entries if entry.distribution in names]
    for entry in entries:
        yield from check_operation(entry, registry)
    if not quick:
        for entry in entries:
            print(f"trying {entry.origin} …", file=sys.stderr, flush=True)
            yield from _try(entry, registry)
        yield from (finding for finding in uncompiled(registry) if finding.distribution in names)


def _try(entry: Any, registry: Registry) -> Iterator[Finding]:
    """Run every check of the conformance kit that needs no claim of the author."""
    import pytest

    def finding(what: str, remedy: str) -> Finding:
        return Finding(entry.distribution, entry.version, f"operation {entry.name}{what}", remedy)

    try:
        checks = list(unclaimed_checks(entry, registry))
    except NotTried as reason:
        print(f"{entry.origin} was not tried: {reason}", file=sys.stderr, flush=True)
        return
    for name, check in checks:
        try:
            check()
        except pytest.skip.Exception:
            continue
        except (Exception, pytest.fail.Exception) as error:
            message = " ".join(f"{type(error).__name__}: {error}".split())
            yield finding(f", {name}: {message[:300]}", "Its own test finds it too: OperationSuite")
    for kernel in entry.operation.kernels:
        if not kernel.available:
            remedy = f"See what the compiler said of {kernel.source}"
            yield finding(f": its kernel {kernel.name} cannot be had here", remedy)
