"""`boat optimizers list` and `boat optimizers show NAME`: optimizers, transforms and schedules that can be named."""

from __future__ import annotations

import argparse
import inspect
from typing import Any

from ..declare.options import describe_options
from ..errors import ConfigError, nearest
from ..plugins.discovery import installed
from ..plugins.entries import Declared
from ..plugins.registry import Registry
from .output import print_facts, print_json, print_options, print_table


def list_optimizers(arguments: argparse.Namespace) -> int:
    registry = installed()
    rows = [_row(registry, entry) for entry in registry.optimizers()]
    schedules = _schedules()
    if arguments.json:
        print_json({"optimizers": rows, "schedules": schedules})
        return 0
    print_table(
        ("name", "summary", "source", "from"),
        [(row["name"], row["summary"], row["source"], f"{row['distribution']} {row['version']}") for row in rows],
    )
    print()
    print_table(("schedule", "options"), [(s["name"], ", ".join(o["name"] for o in s["options"])) for s in schedules])
    return 0


def _row(registry: Registry, entry: Declared) -> dict[str, Any]:
    declaration = entry.declaration
    return {
        "name": registry.optimizer_label(entry),
        "summary": declaration.summary,
        "source": declaration.source,
        "distribution": entry.distribution,
        "version": entry.version,
        "options": describe_options(declaration.options),
    }


def _schedules() -> list[dict[str, Any]]:
    from ..optimizers.schedules import describe_schedules

    return [{"name": name, "options": describe_options(options)} for name, options in describe_schedules()]


def show_optimizer_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")


def show_optimizer(arguments: argparse.Namespace) -> int:
    registry = installed()
    schedules = {schedule["name"]: schedule for schedule in _schedules()}
    labels = {registry.optimizer_label(entry): entry for entry in registry.optimizers()}
    if arguments.name in schedules:
        from ..optimizers import schedules as module

        facts = {**schedules[arguments.name], "doc": inspect.getdoc(module) or ""}
    elif arguments.name in labels:
        entry = labels[arguments.name]
        facts = {**_row(registry, entry), "doc": _doc(entry.declaration.build)}
    else:
        raise ConfigError(
            f"no optimizer or schedule {arguments.name!r}{nearest(arguments.name, [*labels, *schedules])}"
        )
    if arguments.json:
        print_json(facts)
        return 0
    if facts["doc"]:
        print(facts["doc"], end="\n\n")
    if "summary" in facts:
        print_facts(
            [
                ("name", f"{facts['name']}: {facts['summary']}"),
                ("source", facts["source"]),
                ("from", f"{facts['distribution']} {facts['version']}"),
            ]
        )
        print()
    print_options(facts["options"])
    return 0


def _doc(build: Any) -> str:
    """Return the documentation of the rule, or of the module whose function builds the optimizer."""
    rule = getattr(build, "__self__", None)
    return inspect.getdoc(rule if rule is not None else inspect.getmodule(build)) or ""
