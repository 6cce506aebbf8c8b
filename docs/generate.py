"""What documentation says of names, made from the names themselves: README's table of operations, and the reference.

python docs/generate.py            print the reference
python docs/generate.py --write    put both where they belong
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

ROOT = Path(__file__).parent.parent
README, REFERENCE = ROOT / "README.md", ROOT / "docs" / "reference.md"
BEGIN, END = "<!-- operations: begin -->", "<!-- operations: end -->"
#: The modules whose `__all__` is public.
MODULES = (
    "boat_core",
    "boat_core.cli",
    "boat_core.testing",
    "boat_ops_gm",
    "boat_ops_na",
    "boat_ops_fo",
    "boat_view",
    "boat_plugins_example",
)
VARIABLES = {
    "BOAT_DISABLE_PLUGINS": "packs to leave out: distributions or entry points separated by commas, or `all`",
    "BOAT_IMPORT_SECONDS": "seconds that the command gives the import of a pack (20); 0 is no limit",
    "BOAT_KERNELS": "a name under which a process keeps its kernels apart, to compile at the same time as others",
    "BOAT_NATIVE": "`0`: compile no operators and kernels of our own",
}


def operations_table() -> str:
    """One Markdown row for each installed operation."""
    rows = ["| operation | stage | what it is | source | distribution |", "|---|---|---|---|---|"]
    for entry in installed().operations():
        o = entry.operation
        rows.append(f"| {o.name} | {o.stage}, {o.role} | {o.summary} | {o.source} | {entry.distribution} |")
    return "\n".join(rows)


def readme(text: str) -> str:
    """Return `text` with the table of operations between the marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{operations_table()}\n{END}{after}"


def reference() -> str:
    """The reference: commands, configuration, options, hooks, variables, public names."""
    lines = [
        "# Reference",
        "",
        "Made from the code by `make docs`; a test says when it is behind.",
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
    yield "Every verb takes `--json`, `--debug` and `--help`; CONFIG is YAML, or JSON of the same keys, and"
    yield "`--set run.steps=9` overrides a key of it. Exit codes: 0 done, 1 a finding, 2 an error, 130 interrupted."
    yield from ("", "| command | what it does |", "|---|---|")
    for parser in map(cli.Parser.complete, verbs(cli.make_parser())):
        flags = [_flag(action) for action in parser._actions if _is_own(action)]
        yield f"| `{' '.join([parser.prog, *flags])}` | {_cell(parser.description)} |"
        for action in parser._actions:
            if _is_own(action) and action.help and action.dest not in ("config", "overrides"):
                yield f"| | `{(action.option_strings or [action.metavar])[0]}`: {_cell(action.help)} |"
    yield ""


def verbs(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of all verbs, groups of verbs left out."""
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
        return str(value) if action.nargs is None else f"[{value}]"
    value = f"[{value}]" if action.nargs == "?" else value
    text = f"{action.option_strings[0]} {value}".strip()
    return text if action.required else f"[{text}]"


def _configuration() -> Iterator[str]:
    yield from ("## Configuration", "", "YAML, or JSON of the same keys.", "")
    for section, cls in (("", config.Config), ("solver.", config.SolverConfig), ("run.", config.RunConfig)):
        rows = [row for row in describe_options(cls) if row["name"] not in ("source", "solver", "run")]
        yield from _options([{**row, "name": section + row["name"]} for row in rows], "key")


def _declared() -> Iterator[str]:
    packs = installed()
    yield from ("## Optimizers, observers, problems", "")
    for declared in packs.declared:
        yield from _one(declared.declaration, declared.declaration.kind, declared.distribution)
    yield from ("## Operations", "")
    for entry in packs.operations():
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
        f"Hook API {hookspecs.HOOK_API}; [authors.md](authors.md) says how a pack uses them.",
        "",
    )
    yield from ("| hook | |", "|---|---|")
    for name, function in hooks():
        yield f"| `{name}{_shown(function)}` | {_cell(inspect.getdoc(function))} |"
    yield ""


def hooks() -> list[tuple[str, Any]]:
    """The hook specifications, in the order of their file."""
    return [(name, function) for name, function in vars(hookspecs).items() if name.startswith("boat_")]


def _variables() -> Iterator[str]:
    yield from ("## Environment", "", "| variable | meaning |", "|---|---|")
    for name, meaning in VARIABLES.items():
        yield f"| `{name}` | {meaning} |"
    yield ""


def _public_names() -> Iterator[str]:
    yield from ("## Public names", "")
    yield "What follows Semantic Versioning: scripts and packs need nothing else, and nothing else is promised."
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
    """The public names of a module, with their values."""
    found = import_module(module)
    return {name: getattr(found, name) for name in found.__all__}


def digest(module: str) -> str:
    """Changes whenever a public name of the module, or what one takes, does."""
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
    """What a name takes, without types: those are in the docstrings, and for type checkers."""
    signature = _signature(value)
    if signature is None:
        return ""
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return _text(signature.replace(parameters=bare, return_annotation=signature.empty))


def _signature(value: Any) -> inspect.Signature | None:
    """Its signature, if it is a function or class of ours that is not an error."""
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
        README.write_text(readme(README.read_text("utf-8")), "utf-8")
        REFERENCE.write_text(reference(), "utf-8")
    else:
        print(reference())
