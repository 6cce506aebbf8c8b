"""`boat ops new`: what it writes installs, passes its own tests and the check, and works beside ours."""

from __future__ import annotations

import json
import sys

import pytest

from boat_core.cli import main

STAGES = {
    "MY_DOT": ("map", "map: [GDA, MY_DOT]\n  approximate: [CG]"),
    "MY_ESTIMATE": ("approximate", "map: [NGD]\n  approximate: [MY_ESTIMATE]"),
    "MYMETHOD": ("first-order", "first_order: MYMETHOD"),
}


def test_a_pack_for_each_stage(environment, wheels, build, program, configure, tmp_path):
    for name, (stage, _) in STAGES.items():
        assert main(["ops", "new", name, "--stage", stage, "--into", str(tmp_path)]) == 0
    projects = sorted(tmp_path.glob("boat-*"))
    assert [project.name for project in projects] == ["boat-my-dot", "boat-my-estimate", "boat-mymethod"]
    packs = ("boat_core", "boat_ops_gm", "boat_ops_na", "boat_ops_fo", "extras/boat_author")
    ours = [wheels[name] for name in packs]
    environment.install(*ours, *map(build, projects))

    tests = [project / "tests" for project in projects]
    program(sys.executable, "-m", "ruff", "check", "--line-length", "120", "--isolated", *projects)
    done = environment.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", *tests)
    assert "failed" not in done.stdout
    assert int(done.stdout.split(" passed")[0].split()[-1]) > 40

    for name, (_, solver) in STAGES.items():
        environment.run("boat", "run", configure(environment.folder, solver, name, steps=30))
        lines = (environment.folder / name / "metrics.jsonl").read_text("utf8").splitlines()
        losses = [json.loads(line)["upper_loss"] for line in lines]
        assert losses[-1] < 0.8 * losses[0], name
        found = json.loads(environment.run("boat", "ops", "check", f"boat_{name.lower()}", "--quick", "--json").stdout)
        assert found["findings"] == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CG", "NAME: CG is taken (boat-ops-na); choose another"),
        ("boat-rhg", "NAME: RHG is taken (a method's name)"),
        ("two words", "NAME: expected letters and digits, such as NYSTROM or MY_MAP (got 'two words')"),
        ("lambda", "NAME: expected letters and digits"),
        ("plugin", "NAME: expected letters and digits"),
        ("there", "boat-there exists; choose another NAME, or another place with --into FOLDER"),
    ],
)
def test_a_name_that_will_not_do_leaves_nothing(tmp_path, capsys, name, message):
    (tmp_path / "boat-there").mkdir()
    assert main(["ops", "new", name, "--stage", "map", "--into", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["boat-there"]
