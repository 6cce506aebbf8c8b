"""What a pack's source code says before it runs: names of the core that are not public, Jittor imported too early."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CORE, KIT = "boat_core", "boat_core.testing"


@dataclass(frozen=True)
class Place:
    """A line of a file, and what stands there."""

    file: Path
    line: int
    what: str


def public_names() -> dict[str, set[str]]:
    """The modules of the core that are public, with their names."""
    from .. import __all__ as core
    from ..testing import __all__ as kit

    return {CORE: {*core, "testing", "__version__"}, KIT: {*kit}}


def private_names(folder: Path) -> Iterator[Place]:
    """Every use of a name of the core that is not public, in the Python files below a folder."""
    public = public_names()
    for file, tree in _parsed(folder):
        called: dict[str, str] = {}  # what a module of the core goes by in this file
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for item in node.names:
                    if item.name in public:
                        called[item.asname or item.name] = item.name
                    elif item.name.startswith(f"{CORE}."):
                        yield Place(file, node.lineno, item.name)
            elif isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == CORE:
                for item in node.names:
                    if item.name not in public.get(node.module or "", ()):
                        yield Place(file, node.lineno, f"{node.module}.{item.name}")
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in called:
                module = called[node.value.id]
                if node.attr not in public[module]:
                    yield Place(file, node.lineno, f"{module}.{node.attr}")


def early_jittor(folder: Path) -> Iterator[Place]:
    """Every import of Jittor that happens when a file is imported."""
    for file, tree in _parsed(folder):
        for node in _at_import(tree.body):
            names = [item.name for item in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            if any(name.split(".")[0] == "jittor" for name in names):
                yield Place(file, node.lineno, "import jittor")


def _at_import(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or _is_type_checking(node):
            continue
        else:
            for name in ("body", "orelse", "finalbody"):
                yield from _at_import(getattr(node, name, None) or [])


def _is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def _parsed(folder: Path) -> Iterator[tuple[Path, ast.Module]]:
    for file in sorted(folder.rglob("*.py")):
        try:
            yield file, ast.parse(file.read_text("utf-8"), str(file))
        except (OSError, SyntaxError, ValueError):  # its import says so
            continue
