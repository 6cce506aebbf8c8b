"""`boat doctor`: the machine, what was decided for it, and what to mend."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from . import add_verb
from .output import print_facts, print_json, print_table


def add_parsers(verbs: Any) -> None:
    add_verb(verbs, "doctor", doctor, "look at the machine: compiler, oneDNN, CUDA, caches; exit 1 if it is unfit")


def doctor(arguments: argparse.Namespace) -> int:
    from ..runtime import facts

    found = facts()
    if arguments.json:
        print_json(found)
    else:
        special = ("decisions", "findings")
        print_facts([row for key, value in found.items() if key not in special for row in _rows(key, value)])
        print()
        decisions = [(d["what"], d["choice"], d["set_by"], d["reason"]) for d in found["decisions"]]
        print_table(("decided", "as", "by", "because"), decisions)
        print()
        for finding in found["findings"]:
            remedy = f". {finding['remedy']}" if finding["remedy"] else ""
            print(f"{finding['level']}: {finding['what']}{remedy}")
    return 1 if any(finding["level"] == "error" for finding in found["findings"]) else 0


def _rows(name: str, value: Any) -> list[tuple[str, Any]]:
    """Nested facts as dotted names; what is unset is left out."""
    if isinstance(value, Mapping):
        return [row for key, inner in value.items() for row in _rows(f"{name}.{key}", inner)]
    return [] if value is None else [(name, value)]
