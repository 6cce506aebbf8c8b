"""Generate documentation from the code: the tables of docs/operations.md, and docs/reference.md.

python docs/generate.py            print the reference
python docs/generate.py --write    write both pages
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import MISSING
from importlib import import_module
from pathlib import Path
from typing import Any

import boat_core
from boat_core import cli
from boat_core.config import schema as config
from boat_core.declare.options import describe_options
from boat_core.plugins import hookspecs
from boat_core.plugins.discovery import installed
from boat_core.sweeps.section import SweepConfig

ROOT = Path(__file__).parent.parent
OPERATIONS, REFERENCE = ROOT / "docs" / "operations.md", ROOT / "docs" / "reference.md"
#: The modules whose `__all__` is public.
MODULES = (
    "boat_core",
    "boat_core.cli",
    "boat_core.testing",
    "boat_ops_gm",
    "boat_ops_na",
    "boat_ops_fo",
    "boat_view",
    "boat_compat.boml",
    "boat_compat.few_shot",
    "boat_compat.jboat",
    "boat_plugins_example",
)
VARIABLES = {
    "BOAT_DISABLE_PLUGINS": "the packs to leave out: distributions or entry points separated by commas, or `all`",
    "BOAT_IMPORT_SECONDS": "how many seconds the command allows the import of a pack (20); 0 sets no limit",
    "BOAT_KERNELS": "a name under which a process keeps its kernels apart, to compile at the same time as others",
    "BOAT_SIMULATOR": "`1` runs the device code of operators and kernels on the CPU, for tests where there is no GPU",
    "BOAT_NATIVE": "`0` compiles none of BOAT's own operators and kernels",
}


def operations_table() -> str:
    """Return a Markdown table with one row for each installed operation."""
    rows = ["| operation | stage | what it is | source | distribution |", "|---|---|---|---|---|"]
    for entry in installed().operations():
        o = entry.operation
        rows.append(f"| {o.name} | {o.stage}, {o.role} | {o.summary} | {o.source} | {entry.distribution} |")
    return "\n".join(rows)


def methods_table() -> str:
    """Return a Markdown table of the chains that have a name in the field."""
    names: dict[str, list[str]] = {}
    for entry in installed().operations():
        for alias in entry.operation.aliases:
            names.setdefault(str(alias), []).append(alias.name)
    rows = ["| `method` | chain |", "|---|---|"]
    for chain, methods in names.items():
        rows.append(f"| {', '.join(methods)} | {_cell(chain)} |")
    return "\n".join(rows)


def operations(text: str) -> str:
    """Return `text`, which is docs/operations.md, with both tables between their marks."""
    for name, table in (("operations", operations_table()), ("methods", methods_table())):
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
    return text


def reference() -> str:
    """Return the reference: commands, configuration, options, hooks, variables, public names."""
    lines = [
        "# Reference",
        "",
        "`make docs` generates this page from the code. A test fails if the page is out of date.",
        "",
        *_commands(),
        *_configuration(),
        *_declared(),
        *_hooks(),
        *_variables(),
        *_public_names(),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _commands() -> Iterator[str]:
    yield from ("## Commands", "")
    yield "Every verb takes `--json`, `--debug` and `--help`. CONFIG is a file in YAML, or in JSON with the same keys."
    yield "`--set run.steps=9` overrides one key. Exit codes: 0 done, 1 a finding, 2 an error, or output that cannot be"
    yield "written. A signal that ends a run gives 128 plus its number: 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP."
    yield from ("", "| command | what it does |", "|---|---|")
    for parser in map(cli.Parser.complete, verbs(cli.make_parser())):
        flags = [_flag(action) for action in parser._actions if _is_own(action)]
        yield f"| `{' '.join([parser.prog, *flags])}` | {_cell(parser.description)} |"
        for action in parser._actions:
            if _is_own(action) and action.help and action.dest not in ("config", "overrides"):
                yield f"| | `{(action.option_strings or [action.metavar])[0]}`: {_cell(action.help)} |"
    yield ""


def verbs(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield the parsers of all verbs, without the groups of verbs."""
    groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    for group in groups:
        for inner in group.choices.values():
            yield from verbs(inner)
    if not groups:
        yield parser


def _is_own(action: argparse.Action) -> bool:
    return not isinstance(action, argparse._HelpAction) and action.dest not in ("debug", "json")


def _flag(action: argparse.Action) -> str:
    value = action.metavar or (f"{{{','.join(action.choices)}}}" if action.choices else "")
    if not action.option_strings:
        if action.nargs == "+":
            return f"{value} [{value} …]"
        return str(value) if action.nargs is None else f"[{value}]"
    value = f"[{value}]" if action.nargs == "?" else value
    text = f"{action.option_strings[0]} {value}".strip()
    return text if action.required else f"[{text}]"


def _configuration() -> Iterator[str]:
    yield from ("## Configuration", "", "A file in YAML, or in JSON with the same keys.")
    yield "YAML is read as version 1.2 defines it: `0123` is 123, and `off`, `NO`, `1:30` and `2026-11-28` are strings."
    yield ""
    sections = {"": config.Config, "solver.": config.SolverConfig, "run.": config.RunConfig, "sweep.": SweepConfig}
    own = ("source", "solver", "run", "sweep")
    for section, cls in sections.items():
        rows = [row for row in describe_options(cls) if section or row["name"] not in own]
        yield from _options([{**row, "name": section + row["name"]} for row in rows], "key")


def _declared() -> Iterator[str]:
    registry = installed()
    yield from ("## Optimizers, observers, executors, places of sweeps, problems", "")
    for declared in registry.declared:
        if hasattr(declared.declaration, "options"):  # a verb has arguments, which are listed with the commands
            yield from _one(declared.declaration, declared.declaration.kind, declared.distribution)
    yield from ("## Operations", "")
    for entry in registry.operations():
        yield from _one(entry.operation, f"{entry.operation.stage}, {entry.operation.role}", entry.distribution)


def _one(declared: Any, kind: str, distribution: str) -> Iterator[str]:
    source = f" Source: {declared.source}." if getattr(declared, "source", "") else ""
    yield from (f"**{declared.name}** ({kind}, {distribution}): {declared.summary}.{source}", "")
    rows = describe_options(declared.options)
    if rows:
        yield from _options(rows, "option")


def _options(rows: list[dict[str, Any]], heading: str) -> Iterator[str]:
    yield from (f"| {heading} | takes | default | meaning |", "|---|---|---|---|")
    for row in rows:
        default = "required" if row.get("required") else f"`{row['default']}`"
        yield f"| `{row['name']}` | {_cell(row['takes'])} | {default} | {_cell(row['doc'])} |"
    yield ""


def _hooks() -> Iterator[str]:
    yield from (
        "## Hooks",
        "",
        f"The hook API has version {hookspecs.HOOK_API}. [How a pack is found](authors/packs.md) shows how to use it.",
        "",
    )
    yield from ("| hook | |", "|---|---|")
    for name, function in hooks():
        yield f"| `{name}{_shown(function)}` | {_cell(inspect.getdoc(function))} |"
    yield ""


def hooks() -> list[tuple[str, Any]]:
    """Return the hook specifications, in the order of their file."""
    return [(name, function) for name, function in vars(hookspecs).items() if name.startswith("boat_")]


def _variables() -> Iterator[str]:
    yield from ("## Environment", "", "| variable | meaning |", "|---|---|")
    for name, meaning in VARIABLES.items():
        yield f"| `{name}` | {meaning} |"
    yield ""


def _public_names() -> Iterator[str]:
    yield from ("## Public names", "")
    yield "These names follow Semantic Versioning. Scripts and packs need no others, and BOAT promises no others."
    yield ""
    for module in MODULES:
        yield from (f"### {module}", "", "| name | |", "|---|---|")
        for name, value in public(module).items():
            yield f"| `{name}{_shown(value)}` | {_cell(_summary(value))} |"
        yield ""


def _summary(value: Any) -> str:
    if isinstance(value, (int, boat_core.Operation)):
        return value.summary if _is_operation(value) else str(value)
    return (inspect.getdoc(value) or "").split("\n\n")[0]


def public(module: str) -> dict[str, Any]:
    """Return the public names of a module with their values."""
    namespace = import_module(module)
    return {name: getattr(namespace, name) for name in namespace.__all__}


def digest(module: str) -> str:
    """Return a digest of the module's public names and of their parameters."""
    text = "\n".join(line for name, value in public(module).items() for line in _described(name, value))
    return hashlib.sha1(text.encode()).hexdigest()[:8]


def _described(name: str, value: Any) -> Iterator[str]:
    yield f"{name}{_full(value)}"
    if _is_operation(value):
        yield from (f"{name}.{row['name']}: {row['takes']}" for row in describe_options(value.options))
    elif inspect.isclass(value):
        for attribute, member in sorted(vars(value).items()):
            if not attribute.startswith("_"):
                yield f"{name}.{attribute}{_full(member) if inspect.isfunction(member) else ''}"


def _full(value: Any) -> str:
    signature = _signature(value)
    return "" if signature is None else _text(signature)


def _is_operation(value: Any) -> bool:
    return isinstance(value, boat_core.Operation)


def _shown(value: Any) -> str:
    """Return the parameters of a name without their types, which docstrings and type checkers show."""
    signature = _signature(value)
    if signature is None:
        return ""
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return _text(signature.replace(parameters=bare, return_annotation=signature.empty))


def _signature(value: Any) -> inspect.Signature | None:
    """Return the signature of a function or class of BOAT's own; None for errors and everything else."""
    if not callable(value) or _is_operation(value) or not value.__module__.startswith("boat_"):
        return None
    if inspect.isclass(value) and issubclass(value, BaseException):
        return None
    return inspect.signature(value)


def _text(signature: inspect.Signature) -> str:
    text = re.sub(r" at 0x\w+", "", str(signature)).replace("'", "")
    return re.sub(r"<(?:function|class) (?:\w+\.)*(<?\w+>?)>", r"\1", text).replace(repr(MISSING), "…")


def _cell(text: Any) -> str:
    return " ".join(str(text or "").split()).replace("|", "\\|")


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        OPERATIONS.write_text(operations(OPERATIONS.read_text("utf-8")), "utf-8")
        REFERENCE.write_text(reference(), "utf-8")
    else:
        print(reference())
