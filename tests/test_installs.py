"""What is installed is what works: wheels and sdists, and every subset of the packs in an environment of its own."""

from __future__ import annotations

import json
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALL = ("boat_core", "boat_ops_gm", "boat_ops_na", "boat_ops_fo", "plugins_example")
EXTRAS = ("extras/boat_view", "extras/boat_author")
PACKS = {"boat_ops_gm": 4, "boat_ops_na": 10, "boat_ops_fo": 6, "plugins_example": 2}

IMPLICIT = "map: [NGD]\n  approximate: [CG]"
FIRST_ORDER = "first_order: VFO"


# The rows of the table in docs/operations.md.
@pytest.mark.parametrize(
    ("projects", "solvers", "works", "refused"),
    [
        (
            ("boat_core",),
            0,
            None,
            (IMPLICIT, "NGD' is in boat-ops-gm, which is not installed"),
        ),
        (("boat_core", "boat_ops_gm", "boat_ops_na"), 68, IMPLICIT, (FIRST_ORDER, "pip install boat-ops-fo")),
        (("boat_core", "boat_ops_fo"), 6, FIRST_ORDER, ("method: RHG", "no method 'RHG'")),
        (ALL[:4], 74, IMPLICIT, ("first_order: F2SA", "no operation 'F2SA'")),
        (ALL, 83, "map: [NGD]\n  approximate: [NYSTROM]", ("first_order: VFOO", "did you mean 'VFO'")),
    ],
    ids=lambda value: "+".join(value).replace("boat_", "") if isinstance(value, tuple) and value[0] in ALL else "",
)
def test_a_subset(environment, wheels, configure, projects, solvers, works, refused):
    environment.install(*(wheels[name] for name in projects))
    listed = json.loads(environment.run("boat", "ops", "list", "--json").stdout)
    assert listed["broken"] == []
    assert len(listed["operations"]) == sum(PACKS.get(name, 0) for name in projects)
    count = json.loads(environment.run("boat", "solvers", "--json").stdout)["count"]
    assert count == solvers

    said = environment.run("boat", "run", configure(environment.folder, refused[0], "refused"), code=2).stderr
    assert refused[1] in said
    assert len(said.splitlines()) == 1
    assert not (environment.folder / "refused").exists()
    if works:
        config = configure(environment.folder, works, "works")
        assert environment.run("boat", "explain", config).stderr == ""
        summary = json.loads(environment.run("boat", "run", config, "--json").stdout.splitlines()[-1])
        assert (summary["status"], summary["steps"]) == ("finished", 2)


def test_uninstalling_a_pack_leaves_the_rest(environment, wheels, configure):
    environment.install(*(wheels[name] for name in ALL[:4]))
    environment.pip("uninstall", "--yes", "boat-ops-na")
    assert json.loads(environment.run("boat", "solvers", "--json").stdout)["count"] == 6
    said = environment.run("boat", "explain", configure(environment.folder, IMPLICIT, "implicit"), code=2).stderr
    assert "CG' is in boat-ops-na, which is not installed; pip install boat-ops-na" in said
    environment.run("boat", "explain", configure(environment.folder, FIRST_ORDER, "first_order"))


def test_extras_add_what_the_core_then_asks_for(environment, wheels, configure):
    """Drawing, authors' commands and recording observers come with their packs, and go with them."""
    environment.install(*(wheels[name] for name in ALL[:3]))
    config = configure(environment.folder, IMPLICIT, "drawn", problem="network")
    asked = {
        ("draw", config): "pip install boat-view",
        ("ops", "new", "MINE", "--stage", "map"): "pip install boat-author",
        ("ops", "check", "--quick"): "pip install boat-author",
        ("explain", config, "--set", "run.observers=tensorboard"): "pip install boat-view",
    }
    for arguments, remedy in asked.items():
        lines = environment.run("boat", *arguments, code=2).stderr.splitlines()
        assert len(lines) == 1 and lines[0].startswith("boat: error: ") and lines[0].endswith(remedy)
    environment.install(*(wheels[name] for name in EXTRAS))
    for arguments in asked:
        assert environment.run("boat", *arguments).stderr == ""
    assert (environment.folder / "drawn.svg").exists() and (environment.folder / "boat-mine").is_dir()
    environment.pip("uninstall", "--yes", "boat-view")
    assert "pip install boat-view" in environment.run("boat", "draw", config, code=2).stderr


@pytest.mark.parametrize("project", [*ALL, *EXTRAS])
def test_a_wheel_holds_what_is_needed(wheels, project):
    files = set(zipfile.ZipFile(wheels[project]).namelist())
    source = ROOT / project / "src"
    wanted = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file() and _is_source(path)}
    assert wanted - files == set()
    assert any(file.endswith("/py.typed") for file in files)
    assert any(file.endswith(".dist-info/licenses/LICENSE") for file in files)
    assert [file for file in files if file.startswith("tests/") or "__pycache__" in file] == []
    if project in PACKS:
        assert any(file.endswith(".cu") for file in files)


def _is_source(path: Path) -> bool:
    return not any(part.startswith((".", "__pycache__")) for part in path.relative_to(ROOT).parts)


@pytest.mark.parametrize("project", [*ALL, *EXTRAS])
def test_an_sdist_builds_the_same_wheel(build, wheels, project, tmp_path):
    with tarfile.open(build(ROOT / project, "sdist")) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    assert set(zipfile.ZipFile(build(unpacked)).namelist()) == set(zipfile.ZipFile(wheels[project]).namelist())
