"""Names: what docs/ says of them is what there is, and a public one does not change without the changelog saying so."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from boat_author.sources import private_names
from boat_core import cli
from boat_core.declare.options import describe_options
from boat_core.plugins.discovery import installed

ROOT = Path(__file__).parent.parent
AUTHORS = "".join(page.read_text("utf8") for page in (ROOT / "docs" / "authors").glob("*.md"))
REFERENCE = (ROOT / "docs" / "reference.md").read_text("utf8")
CHANGELOG = (ROOT / "CHANGELOG.md").read_text("utf8")
PROJECTS = (
    "boat_ops_gm",
    "boat_ops_na",
    "boat_ops_fo",
    "extras/boat_view",
    "extras/boat_author",
    "extras/boat_compat",
    "extras/boat_ray",
    "plugins_example",
)


def _generate():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = _generate()


def test_generated_pages_are_up_to_date():
    operations = (ROOT / "docs" / "operations.md").read_text("utf8")
    assert generate.operations(operations) == operations, "run `make docs`"
    assert generate.reference() == REFERENCE, "run `make docs`"


def test_every_hook_is_in_the_authors_guide():
    assert [name for name, _ in generate.hooks() if f"`{name}" not in AUTHORS] == []


def test_every_verb_and_flag_is_in_the_reference():
    for parser in map(cli.Parser.complete, generate.verbs(cli.make_parser())):
        (line,) = [line for line in REFERENCE.splitlines() if line.startswith(f"| `{parser.prog}")]
        flags = [flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")]
        assert [flag for flag in flags if flag not in line and flag not in REFERENCE.split("| command")[0]] == []


def test_every_option_is_in_the_reference():
    registry = installed()
    declarations = [entry.declaration for entry in registry.declared if hasattr(entry.declaration, "options")]
    for declared in [*(entry.operation for entry in registry.operations()), *declarations]:
        kind = getattr(declared, "kind", "")  # an executor and a place may have one name
        section = REFERENCE.split(f"\n**{declared.name}** ({kind}")[1].split("\n**")[0]
        for row in describe_options(declared.options):
            assert f"| `{row['name']}` | {row['takes']} |" in section, (declared.name, row["name"])
            assert row["doc"], (declared.name, row["name"])


def test_every_environment_variable_is_in_the_reference():
    sources = (ROOT / "boat_core" / "src").rglob("*.py")
    named = {
        name
        for path in sources
        for name in re.findall(r'"(BOAT_(?!HOOK_API|RUNTIME_)[A-Z_]+)"', path.read_text("utf8"))
    }
    assert {name for name in named if f"| `{name}` |" not in REFERENCE} == set()


@pytest.mark.parametrize("module", generate.MODULES)
def test_a_change_of_public_names_is_in_the_changelog(module):
    """The newest section has a line for each module: a digest of its names and what they take, and what is new."""
    newest = CHANGELOG.split("\n## ")[1]
    line = re.search(rf"^- `{re.escape(module)}` \((\w+)\): (.*?)(?=^- |^#|\Z)", newest, flags=re.MULTILINE | re.DOTALL)
    assert line, f"CHANGELOG.md: the newest section has no line for {module}"
    assert line[1] == generate.digest(module), (
        f"the public names of {module}, or what they take, have changed: say what in the newest section of"
        f" CHANGELOG.md, and put {generate.digest(module)} there"
    )
    said = set(re.findall(r"`(\w+)`", CHANGELOG))
    assert [name for name in generate.public(module) if name not in said] == []


@pytest.mark.parametrize("project", PROJECTS)
def test_packs_use_only_public_names(project):
    assert [f"{place.file}:{place.line} {place.what}" for place in private_names(ROOT / project)] == []


def test_private_names_are_found(tmp_path):
    """The search finds every way to use a private name."""
    (tmp_path / "pack.py").write_text(
        "import boat_core as boat, boat_core.runtime, boat_core.testing\n"
        "from boat_core import Cost\n"
        "from boat_core.plugins import registry\n"
        "from boat_core.autodiff.vectors import Vector\n"
        "from boat_core.testing import Claim, conformance\n"
        "boat.Solver, boat.autodiff.vectors, boat_core.testing.Claim\n",
        "utf8",
    )
    found = {place.what for place in private_names(tmp_path)}
    assert found == {
        "boat_core.runtime",
        "boat_core.plugins.registry",
        "boat_core.autodiff.vectors.Vector",
        "boat_core.testing.conformance",
        "boat_core.autodiff",
    }
