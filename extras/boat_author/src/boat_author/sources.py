"""What the source code of a pack shows before it runs: private names of the core, and an early import of Jittor."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from boat_core.testing import Finding

from .packs import Pack

CORE = "boat_core"
#: The modules of the core whose `__all__` is public.
PUBLIC = (CORE, f"{CORE}.cli", f"{CORE}.testing")


@dataclass(frozen=True)
class Place:
    """A line of a file, and what was found there."""

    file: Path
    line: int
    what: str


def public_names() -> dict[str, set[str]]:
    """Return the public modules of the core, each with its names."""
    names = {module: set(import_module(module).__all__) for module in PUBLIC}
    names[CORE] |= {"__version__", *(module.removeprefix(f"{CORE}.") for module in PUBLIC)}
    return names


def check_sources(pack: Pack) -> Iterator[Finding]:
    """Yield what is wrong with the imports of a pack, and whether it lacks the marker of types."""
    folder = _package_folder(pack)
    if folder is None:
        return

    def finding(what: str, remedy: str) -> Finding:
        return Finding(pack.name, pack.version, what, remedy)

    for place in private_names(folder):
        where = f"{place.file.relative_to(folder.parent)}:{place.line}"
        yield finding(f"{where} uses {place.what}, which is not public", "Use a name of boat_core.__all__")
    for place in early_jittor(folder):
        where = f"{place.file.relative_to(folder.parent)}:{place.line}"
        what = f"{where} imports Jittor when it is imported: every listing then starts, and perhaps compiles, Jittor"
        yield finding(what, "Import it inside the functions that need it")
    if not (folder / "py.typed").exists():
        yield finding("it has no py.typed: type checkers take its names for Any", "Add an empty one")


def _package_folder(pack: Pack) -> Path | None:
    """Return the folder of the top package, or None where Python does not find it."""
    try:
        spec = importlib.util.find_spec(pack.package)
    except (ImportError, ValueError):
        return None
    places = list(spec.submodule_search_locations or []) if spec else []
    return Path(places[0]) if places else None


def private_names(folder: Path) -> Iterator[Place]:
    """Yield every use of a private name of the core in the Python files below a folder."""
    public = public_names()
    for file, tree in _parsed(folder):
        modules: dict[str, str] = {}  # the names that public modules of the core have in this file
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for item in node.names:
                    if item.name in public:
                        modules[item.asname or item.name] = item.name
                    elif item.name.startswith(f"{CORE}."):
                        yield Place(file, node.lineno, item.name)
            elif isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == CORE:
                for item in node.names:
                    if item.name not in public.get(node.module or "", ()):
                        yield Place(file, node.lineno, f"{node.module}.{item.name}")
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
                module = modules[node.value.id]
                if node.attr not in public[module]:
                    yield Place(file, node.lineno, f"{module}.{node.attr}")


def early_jittor(folder: Path) -> Iterator[Place]:
    """Yield every import of Jittor that happens when the file is imported."""
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
        except (OSError, SyntaxError, ValueError):  # importing it fails, which is a finding of its own
            continue
