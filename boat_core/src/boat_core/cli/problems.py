"""`boat problems list` and `boat problems show NAME`: the problems that installed packs declare."""

from __future__ import annotations

import argparse
import inspect
from typing import Any

from ..declare.options import describe_options
from ..plugins.discovery import installed
from ..plugins.entries import Declared
from ..plugins.registry import Registry
from .output import print_facts, print_json, print_options, print_table


def list_problems(arguments: argparse.Namespace) -> int:
    registry = installed()
    rows = [_row(registry, entry) for entry in registry.problems()]
    if arguments.json:
        print_json({"problems": rows})
    elif rows:
        print_table(
            ("name", "summary", "from"),
            [(row["name"], row["summary"], f"{row['distribution']} {row['version']}") for row in rows],
        )
    else:
        print("no installed pack declares a problem; `problem: MODULE:FUNCTION` names one of your own")
    return 0


def show_problem_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")


def show_problem(arguments: argparse.Namespace) -> int:
    registry = installed()
    declaration = registry.problem(arguments.name)
    entry = next(entry for entry in registry.problems() if entry.declaration is declaration)
    row = {**_row(registry, entry), "doc": inspect.getdoc(inspect.getmodule(declaration.build)) or ""}
    if arguments.json:
        print_json(row)
        return 0
    if row["doc"]:
        print(row["doc"], end="\n\n")
    print_facts(
        [
            ("name", f"{row['name']}: {row['summary']}"),
            ("from", f"{row['distribution']} {row['version']}"),
            ("in a configuration", f"problem: {row['name']}"),
        ]
    )
    if row["options"]:
        print("\nproblem_options:")
        print_options(row["options"])
    return 0


def _row(registry: Registry, entry: Declared) -> dict[str, Any]:
    declaration = entry.declaration
    return {
        "name": registry.problem_label(entry),
        "summary": declaration.summary,
        "distribution": entry.distribution,
        "version": entry.version,
        "options": describe_options(declaration.options),
    }
