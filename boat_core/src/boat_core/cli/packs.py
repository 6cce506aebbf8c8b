"""`boat ops doctor`, `check [PACK]`, `new NAME` and `trace CONFIG`: what users and authors of packs need to know."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._util.text import count
from ..errors import BoatError, nearest
from ..plugins.discovery import installed
from ..plugins.entries import BrokenPack, Registered
from ..plugins.registry import Registry
from . import add_config, add_verb
from .output import print_facts, print_json, print_table

if TYPE_CHECKING:
    from ..inspection.finding import Finding


def add_parsers(verbs: Any) -> None:
    looking = add_verb(verbs, "doctor", doctor, "list packs that did not load, or do not work; exit 1 if there are any")
    looking.add_argument("--try", dest="trying", action="store_true", help="also let every operation do two steps")
    checking = add_verb(verbs, "check", check, "hold packs to all that is asked of them; exit 1 if something is amiss")
    checking.add_argument("pack", metavar="PACK", nargs="?", help="distribution, package or entry point; else all")
    checking.add_argument("--quick", action="store_true", help="only what is seen without running operations")
    making = add_verb(verbs, "new", new, "write a complete distribution for an operation of your own")
    making.add_argument("name", metavar="NAME", help="of the operation, such as NYSTROM; the pack is boat-nystrom")
    making.add_argument("--stage", required=True, choices=("map", "approximate", "first-order"))
    making.add_argument("--into", metavar="FOLDER", type=Path, default=Path(), help="where its folder is made")
    tracing = add_verb(verbs, "trace", trace, "do one outer step and say which hooks and operations ran, and whose")
    add_config(tracing)


def doctor(arguments: argparse.Namespace) -> int:
    from ..inspection.standing import conflicts, uncompiled

    packs = installed()
    findings = [*conflicts(packs), *uncompiled(packs)]
    if arguments.trying:
        findings += _tried(packs)
    if arguments.json:
        print_json({"broken": [asdict(pack) for pack in packs.broken], "findings": [asdict(f) for f in findings]})
    else:
        for pack in packs.broken:
            named = f"{pack.distribution} {pack.version}, entry point {pack.entry_point}"
            print_facts([("pack", named), ("cause", pack.cause), ("remedy", pack.remedy)])
            print()
        for finding in findings:
            named = f"{finding.distribution} {finding.version}"
            print_facts([("pack", named), ("finding", finding.what), ("remedy", finding.remedy)])
            print()
        print(f"{count(len(packs.packs), 'pack')} with {count(len(packs.entries), 'operation')} loaded", end="")
        print(f", {len(packs.broken) or 'none'} set aside", end="")
        print(f", {count(len(findings), 'finding')}." if findings else ".")
    return 1 if packs.broken or findings else 0


def _tried(packs: Registry) -> Iterator[Finding]:
    from ..inspection.behaviour import NotTried, misconduct

    _start_jittor()
    for entry in packs.entries:
        try:
            if finding := misconduct(entry, packs):
                yield finding
        except NotTried as reason:
            _remark(f"{entry.origin} was not tried: {reason}")


def check(arguments: argparse.Namespace) -> int:
    from ..inspection.finding import Finding
    from ..plugins.discovery import find_entry_points

    packs, unreadable = installed(), list[BrokenPack]()
    found = find_entry_points(unreadable.append)
    points = [point for point in found if _is_called(_names(point), arguments.pack)]
    damaged = [pack for pack in unreadable if _is_called((pack.distribution,), arguments.pack)]
    if arguments.pack and not points and not damaged:
        known = {name for point in found for name in _names(point)}
        raise BoatError(f"no pack {arguments.pack!r} is installed{nearest(arguments.pack, known)}")
    findings = [one for pack in damaged for one in Finding.of(pack)]
    findings += _findings(points, packs, arguments.quick)
    checked = {pack.distribution for pack in damaged} | {_names(point)[0] for point in points}
    if arguments.json:
        print_json({"packs": sorted(checked), "findings": [asdict(f) for f in findings]})
    else:
        for finding in findings:
            print(finding)
        amiss = count(len(findings), "finding") if findings else "nothing amiss"
        print(f"{count(len(checked), 'pack')} checked, {amiss}.")
    return 1 if findings else 0


def _names(point: Any) -> tuple[str, ...]:
    from ..plugins.discovery import identity

    return identity(point.dist)[0], point.module.split(".")[0], point.name


def _is_called(names: tuple[str, ...], name: str | None) -> bool:
    return name is None or name.replace("_", "-").lower() in {n.replace("_", "-").lower() for n in names}


def _findings(points: Iterable[Any], packs: Registry, quick: bool) -> Iterator[Finding]:
    from ..inspection import pack as looked_at
    from ..inspection.finding import Finding
    from ..inspection.standing import conflicts, uncompiled
    from ..plugins.discovery import identity

    chosen = {identity(point.dist)[0] for point in points}
    for point in points:
        name, _ = identity(point.dist)
        yield from looked_at.of_metadata(point.dist)
        yield from looked_at.of_sources(point)
        for pack in packs.broken:
            if (pack.distribution, pack.entry_point) == (name, point.name):
                yield from Finding.of(pack)
    yield from (finding for finding in conflicts(packs) if finding.distribution in chosen)
    entries = [entry for entry in packs.entries if entry.distribution in chosen]
    for entry in entries:
        yield from looked_at.of_operation(entry, packs)
    if not quick:
        yield from _conformance(entries, packs)
        yield from (finding for finding in uncompiled(packs) if finding.distribution in chosen)


def _conformance(entries: list[Registered], packs: Registry) -> Iterator[Finding]:
    from ..inspection.behaviour import NotTried, conformance

    if not entries:
        return
    _start_jittor()
    for entry in entries:
        _remark(f"trying {entry.origin} …")
        try:
            yield from conformance(entry, packs)
        except NotTried as reason:
            _remark(f"{entry.origin} was not tried: {reason}")


def _start_jittor() -> None:
    from ..runtime import prepare, select_device

    prepare()
    select_device()


def _remark(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def new(arguments: argparse.Namespace) -> int:
    from ..scaffold import write_pack

    folder, files = write_pack(arguments.name, arguments.stage, arguments.into, installed())
    if arguments.json:
        print_json({"folder": str(folder), "files": files})
        return 0
    print_facts([(str(folder), "\n".join(files))])
    print(f"\nNext:\n  pip install -e '{folder}[test]'\n  pytest {folder}\n  boat ops check {folder.name}")
    return 0


def trace(arguments: argparse.Namespace) -> int:
    from ..config.schema import read_config
    from ..runs.trace import trace_run

    rows = trace_run(read_config(arguments.config, arguments.overrides), installed())
    if arguments.json:
        print_json({"calls": rows})
    else:
        cells = [(r["what"], f"{r['distribution']} {r['version']}", r["times"], r["gave"]) for r in rows]
        print_table(("what ran", "from", "times", "gave"), cells)
    return 0
