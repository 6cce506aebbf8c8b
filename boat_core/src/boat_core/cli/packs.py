"""`boat ops doctor` and `boat ops trace CONFIG`: which packs work, and what runs in one outer step."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from .._util.text import count
from ..plugins.discovery import installed
from ..plugins.registry import Registry
from .output import print_facts, print_json, print_table
from .parsing import add_config_arguments as trace_arguments  # noqa: F401

if TYPE_CHECKING:
    from ..plugins.finding import Finding


def doctor_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--try", dest="trying", action="store_true", help="also let every operation do two steps")


def doctor(arguments: argparse.Namespace) -> int:
    from ..plugins.commands import split_commands
    from ..plugins.conflicts import conflicts, uncompiled
    from . import _core_parser
    from .parsing import own_names

    registry = installed()
    _, unused_verbs = split_commands(registry, own_names(_core_parser()))
    findings = [*conflicts(registry), *unused_verbs, *uncompiled(registry)]
    if arguments.trying:
        findings += _try_operations(registry)
    if arguments.json:
        print_json({"broken": [asdict(pack) for pack in registry.broken], "findings": [asdict(f) for f in findings]})
    else:
        for pack in registry.broken:
            name = f"{pack.distribution} {pack.version}, entry point {pack.entry_point}"
            print_facts([("pack", name), ("cause", pack.cause), ("remedy", pack.remedy)])
            print()
        for finding in findings:
            name = f"{finding.distribution} {finding.version}"
            print_facts([("pack", name), ("finding", finding.what), ("remedy", finding.remedy)])
            print()
        print(f"{count(len(registry.packs), 'pack')} with {count(len(registry.entries), 'operation')} loaded", end="")
        print(f", {len(registry.broken) or 'none'} set aside", end="")
        print(f", {count(len(findings), 'finding')}." if findings else ".")
    return 1 if registry.broken or findings else 0


def _try_operations(registry: Registry) -> Iterator[Finding]:
    from ..runtime import prepare, select_device

    prepare()
    select_device()
    from ..testing.trial import NotTried, try_operation

    for entry in registry.entries:
        try:
            if finding := try_operation(entry, registry):
                yield finding
        except NotTried as reason:
            print(f"{entry.origin} was not tried: {reason}", file=sys.stderr, flush=True)


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
