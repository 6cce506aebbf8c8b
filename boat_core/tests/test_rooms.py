"""The rooms of boat_core: imports go downwards only, private names stay in their room, and every file has a room."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import boat_core

ROOT = Path(boat_core.__file__).parent
#: Floor by floor, from the ground up. A room may import from its own floor's room alone and from those below it.
FLOORS = (
    ("errors", "_util"),
    ("runtime",),
    ("autodiff",),
    ("declare",),
    ("plugins", "optimizers", "differentiation"),
    ("bilevel",),
    ("config",),
    ("runs",),
    ("sweeps",),
    ("testing",),
    ("cli", "builtin"),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
#: The package itself names its public names as strings, and `python -m boat_core` starts the command.
DOORS = ("__init__", "__main__")


class Import:
    """One name that a file imports from a module of boat_core; `names` tells a type checker alone if `typing`."""

    def __init__(self, file: str, line: int, module: str, name: str, typing: bool) -> None:
        self.file, self.line, self.module, self.name, self.typing = file, line, module, name, typing

    @property
    def target(self) -> str:
        """Return the imported module, which is the name itself if the name is a module."""
        return (
            f"{self.module}.{self.name}".strip(".")
            if f"{self.module}.{self.name}".strip(".") in MODULES
            else self.module
        )

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}.{self.name}"


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").rstrip(".")


FILES = {_module(path): path for path in sorted(ROOT.rglob("*.py"))}
MODULES = set(FILES)


def imports() -> Iterator[Import]:
    """Every import of boat_core by boat_core, those inside functions included."""
    for module, path in FILES.items():
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        tree = ast.parse(path.read_text("utf8"))
        for_types = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or not node.level:
                assert "boat_core" not in str(getattr(node, "module", "")), f"{path}: write a relative import"
                continue
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if package else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield Import(module, node.lineno, source, alias.name, id(node) in for_types)


def room(module: str) -> str:
    return module.partition(".")[0]


IMPORTS = [one for one in imports() if one.file not in ("", *DOORS)]


def test_every_file_stands_in_a_room():
    tops = {room(module) for module in MODULES} - {"", *DOORS}
    assert tops == set(FLOOR_OF)


def test_imports_go_downwards():
    upwards = [
        str(one)
        for one in IMPORTS
        if one.target and room(one.target) != room(one.file) and FLOOR_OF[room(one.target)] >= FLOOR_OF[room(one.file)]
    ]
    # The ground floor's two rooms: errors may use the helpers.
    assert [text for text in upwards if not text.startswith("errors:")] == []


def test_no_room_imports_private_names_of_another():
    private = [
        str(one)
        for one in IMPORTS
        if room(one.target) != room(one.file)
        and (
            (one.name.startswith("_") and one.name != "_util")
            or any(part.startswith("_") for part in one.target.split(".")[1:])
        )
        and not one.name.startswith("__")
    ]
    assert private == []


def test_imports_have_no_cycle():
    arrows: dict[str, set[str]] = {}
    for one in IMPORTS:
        if not one.typing and one.target != one.file:
            arrows.setdefault(one.file, set()).add(one.target)
    done: set[str] = set()

    def follow(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " → ".join([*way[way.index(module) :], module])
        if module in done:
            return
        for target in sorted(arrows.get(module, ())):
            follow(target, (*way, module))
        done.add(module)

    for module in sorted(arrows):
        follow(module, ())


def test_the_names_for_type_checkers_are_the_public_ones():
    """`__init__.py` names each public name twice: where it loads from, and for type checkers."""
    tree = ast.parse((ROOT / "__init__.py").read_text("utf8"))
    for_types = {
        (f"{node.module}", alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    lazy = {(home, name) for name, home in boat_core._HOME_OF.items()}
    assert lazy <= for_types
    others = {name for _, name in for_types} - {name for _, name in lazy}
    assert others <= {"install_import_hook", "install", "start_build"}
