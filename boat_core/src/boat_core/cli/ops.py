"""`boat ops list` and `boat ops show NAME`: what is installed."""

from __future__ import annotations

import argparse
import inspect
import sys
from dataclasses import asdict
from typing import Any

from .._util.text import count
from ..declare.operation import ROLES, Alias
from ..declare.options import describe_options
from ..errors import CompositionError
from ..plugins.composition import solvers
from ..plugins.discovery import installed
from ..plugins.entries import Registered
from ..plugins.known_packs import published_operations
from ..plugins.registry import Registry
from .output import print_facts, print_json, print_options, print_table


def list_operations_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stage", choices=tuple(ROLES), help="only those of one stage")


def list_operations(arguments: argparse.Namespace) -> int:
    registry = installed()
    entries = [e for e in registry.entries if arguments.stage in (None, e.operation.stage)]
    if arguments.json:
        print_json(
            {"operations": [_row(registry, e) for e in entries], "broken": [asdict(pack) for pack in registry.broken]}
        )
        return 0
    print_table(
        ("name", "stage", "role", "summary", "from"),
        [
            (
                registry.label(e),
                e.operation.stage,
                e.operation.role,
                e.operation.summary,
                f"{e.distribution} {e.version}",
            )
            for e in entries
        ],
    )
    if not entries:
        print(f"No operations are installed; pip install {' '.join(published_operations())}", file=sys.stderr)
    return 0


def _row(registry: Registry, entry: Registered) -> dict[str, Any]:
    operation = entry.operation
    return {
        "name": registry.label(entry),
        "stage": operation.stage,
        "role": operation.role,
        "summary": operation.summary,
        "source": operation.source,
        "distribution": entry.distribution,
        "version": entry.version,
        "options": describe_options(operation.options),
        "kernels": [kernel.name for kernel in operation.kernels],
    }


def show_operation_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")


def show_operation(arguments: argparse.Namespace) -> int:
    registry = installed()
    if arguments.name in registry.aliases():
        alias = registry.aliases()[arguments.name]
        raise CompositionError(f"{alias.name} is the method {alias}: show its operations by their names")
    entry = registry.find(arguments.name)
    operation = entry.operation
    members = [s for s in solvers(registry) if entry in s.operations]
    partners = {other.name for s in members for other in s.operations} - {entry.name}
    facts = _row(registry, entry) | {
        "formula": operation.formula,
        "doc": inspect.getdoc(inspect.getmodule(operation.apply)) or "",
        "needs": [asdict(need) for need in operation.needs],
        "excludes": [asdict(rule) for rule in operation.excludes],
        "aliases": [asdict(alias) for alias in operation.aliases],
        "kernels": [
            {"name": kernel.name, "summary": kernel.summary, "source": kernel.source.name}
            for kernel in operation.kernels
        ],
        "composes_with": [e.name for e in registry.operations() if e.name in partners],
        "solvers": len(members),
    }
    if arguments.json:
        print_json(facts)
    else:
        _print_operation(facts, operation.aliases)
    return 0


def _print_operation(facts: dict[str, Any], aliases: tuple[Alias, ...]) -> None:
    if facts["doc"]:
        print(facts["doc"], end="\n\n")
    needs = [f"{' or '.join(n['names'])}: {n['reason']}" for n in facts["needs"]]
    excludes = [
        ", ".join(r["what"]) + (f" (but not {', '.join(r['unless'])})" if r["unless"] else "") + f": {r['reason']}"
        for r in facts["excludes"]
    ]
    rows = [
        ("name", f"{facts['name']}: {facts['summary']}"),
        ("stage", f"{facts['stage']}, {facts['role']}"),
        ("formula", facts["formula"]),
        ("source", facts["source"]),
        ("from", f"{facts['distribution']} {facts['version']}"),
        ("needs", "\n".join(needs)),
        ("excludes", "\n".join(excludes)),
        ("composes with", ", ".join(facts["composes_with"])),
        ("takes part in", count(facts["solvers"], "solver")),
        ("methods", "\n".join(f"{alias.name} = {alias}" for alias in aliases)),
        ("kernels", "\n".join(f"{k['name']} ({k['source']}): {k['summary']}" for k in facts["kernels"])),
    ]
    print_facts([row for row in rows if row[1]])
    print()
    print_options(facts["options"])
