"""Broken and hostile packs. Each is really installed, and the rest of the program works without it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

import boat_core as boat

DRIVER = """
import contextlib, io, json, sys
from boat_core.cli import main

answers = []
for arguments in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    answers.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(answers))
"""
ASKED = [["ops", "list", "--json"], ["ops", "doctor", "--json"], ["solvers", "--json"]]

HEAD = """\
from dataclasses import dataclass
from boat_core import *
BOAT_HOOK_API = 1
def estimate(trajectory, options):
    return Hypergradient(trajectory.end.direct)
def operation(name="BAD", apply=estimate, **more):
    more = {"cost": lambda options, work: Cost(gradients=1), "tags": ("end-point",), **more}
    return Operation(name, "approximate", "estimator", "s", "f", "t", apply=apply, **more)
@hookimpl
def boat_approximate_operations():
    return [operation()]
"""


def plugin(body):
    return {"hostile/__init__.py": "", "hostile/plugin.py": body}


@pytest.fixture
def written(configure, tmp_path):
    """`written(solver, name)`: a configuration of a small network, `name`.yaml."""
    return lambda solver, name: configure(tmp_path, solver, name, problem="network", steps=1)


@pytest.fixture
def answers(tmp_path, program, written):
    """Run `boat` several times in one process that sees these packs, in a folder with a sound configuration."""
    written("method: RHG", "sound")

    def answers(*targets: Path, asked, **variables):
        paths = [*map(str, targets), *filter(None, [os.environ.get("PYTHONPATH")])]
        variables = {"PYTHONPATH": ":".join(paths), **variables}
        done = program(sys.executable, "-c", DRIVER, json.dumps(asked), cwd=tmp_path, **variables)
        return json.loads(done.stdout.splitlines()[-1])

    return answers


@pytest.fixture(scope="module")
def solvers():
    """Return the number of solvers without any hostile pack."""
    return sum(1 for _ in boat.solvers())


def changed(old, new, body=HEAD):
    assert old in body
    return body.replace(old, new)


def declaring(arguments, before=""):
    """A pack whose operation is declared with these arguments."""
    return changed("[operation()]", f"[operation({arguments})]", changed("@hookimpl", f"{before}@hookimpl"))


def with_option(declared):
    return declaring("options=Options", f"@dataclass\nclass Options:\n    {declared}\n")


SET_ASIDE = {
    "an import error": ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
    "an exit": ("raise SystemExit(3)", "its import failed with SystemExit: 3"),
    "another way out": ("class Out(BaseException): pass\nraise Out('gone')", "its import failed with Out: gone"),
    "a hang": (
        "import time\ntry:\n    time.sleep(60)\nexcept Exception:\n    pass",
        "its import took longer than 1 s",
    ),
    "a hook that hangs": (changed("return [operation()]", "while True: pass"), "its import took longer than 1 s"),
    "a hook with a wrong signature": (
        HEAD + "@hookimpl\ndef boat_problems(wrong):\n    return []\n",
        "Argument(s) {'wrong'}",
    ),
    "an operation with a wrong signature": (
        declaring("apply=lambda trajectory: None"),
        "apply must take (trajectory, options) (its signature is (trajectory))",
    ),
    "an unknown hook": (
        HEAD + "@hookimpl\ndef boat_aproximate_operations():\n    return []\n",
        "there is no hook 'boat_aproximate_operations'; did you mean 'boat_approximate_operations'?",
    ),
    "an unknown hook of another kind": (HEAD + "@hookimpl\ndef operations():\n    return []\n", "no hook 'operations'"),
    "a missing marker": (changed("@hookimpl", ""), "boat_approximate_operations lacks the mark"),
    "an API of the future": (changed("API = 1", "API = 7"), "its BOAT_HOOK_API is 7, and this boat-core speaks 1"),
    "no API": (changed("BOAT_HOOK_API = 1", ""), "its BOAT_HOOK_API is None"),
    "no list": (changed("[operation()]", "operation()"), "must return a list of Operation (got Operation)"),
    "names for operations": (changed("[operation()]", "['CG']"), "must return Operation values (got 'CG')"),
    "the same twice": (changed("[operation()]", "2 * [operation()]"), "operation 'BAD' is declared twice by this"),
    "another stage": (changed("boat_approximate", "boat_map"), "an operation of stage 'approximate'"),
    "no name": (declaring("name=None"), "name must be letters"),
    "tags in one word": (declaring("tags='end-point'"), "tags must be of type tuple"),
    "needs in words": (declaring("needs=('NGD',)"), "needs must hold Needs values (got 'NGD')"),
    "a letter for each name": (declaring("excludes=(Excludes('CG', 'no'),)"), "expected a tuple of names (got 'CG')"),
    "an order in words": (declaring("order='first'"), "order must be of type int"),
    "an option of a type that there is not": (with_option("a: 'Nothing' = option(1, doc='')"), "(NameError"),
    "an option that JSON cannot say": (with_option("a: object = option(len, doc='')"), "(TypeError"),
}


@pytest.mark.parametrize("what", SET_ASIDE)
def test_unusable_pack_is_set_aside(install_by_hand, answers, solvers, written, tmp_path, what):
    body, cause = SET_ASIDE[what]
    body = "print('I write where JSON is expected')\n" + body
    files = plugin(body) | {"hostile-1.0.dist-info/entry_points.txt": "[boat]\nna = hostile.plugin\n"}
    check_set_aside(install_by_hand("hostile", files), cause, answers, solvers, written, tmp_path)


OUTSIDE = {
    "made for another core": (("boat-core>=99",), "[boat]\nx = hostile.plugin\n", "it is made for boat-core >=99, and"),
    "no such module": ((), "[boat]\nx = hostile.absent\n", "No module named 'hostile.absent'"),
    "no such object": ((), "[boat]\nx = hostile.plugin:there\n", "AttributeError"),
    "entry points that cannot be read": ((), "[boat]\nno equals sign\n", "its entry points cannot be read"),
}


@pytest.mark.parametrize("what", OUTSIDE)
def test_pack_with_invalid_metadata_is_set_aside(install_by_hand, answers, solvers, written, tmp_path, what):
    requires, text, cause = OUTSIDE[what]
    files = plugin("raise AssertionError('imported all the same')" if requires else HEAD)
    files |= {"hostile-1.0.dist-info/entry_points.txt": text}
    check_set_aside(install_by_hand("hostile", files, requires=requires), cause, answers, solvers, written, tmp_path)


def check_set_aside(target, cause, answers, solvers, written, tmp_path):
    written("approximate: BAD", "bad")
    checking = ["ops", "check", "hostile", "--quick", "--json"]
    asked = [*ASKED, checking, ["explain", "sound.yaml"], ["run", "bad.yaml"]]
    seconds = "1" if "longer than" in cause else "20"
    listed, doctor, counted, checked, explained, ran = answers(target, asked=asked, BOAT_IMPORT_SECONDS=seconds)

    warned = [line for line in listed[2].splitlines() if line.startswith("boat: warning: ")]
    assert len(warned) == 1
    assert warned[0].startswith("boat: warning: hostile 1.0 (")
    assert cause in warned[0]
    found = json.loads(listed[1])
    assert "BAD" not in [o["name"] for o in found["operations"]]
    (broken,) = json.loads(doctor[1])["broken"]
    assert doctor[0] == 1
    assert (broken["distribution"], broken["version"]) == ("hostile", "1.0")
    assert cause in broken["cause"]
    assert broken["remedy"]
    assert json.loads(counted[1])["count"] == solvers
    assert checked[0] == 1
    assert any(cause in finding["what"] for finding in json.loads(checked[1])["findings"])
    assert (explained[0], explained[2]) == (0, "")
    assert ran[0] == 2
    assert "no operation 'BAD'" in ran[2] and cause in ran[2] and "hostile 1.0" in ran[2]
    assert len(ran[2].splitlines()) == 1
    assert not (tmp_path / "bad").exists()


def test_duplicate_name_is_an_error_only_when_used_without_its_pack(install_by_hand, answers, solvers, written):
    """The pack has its own CG, RAD, sgd, RHG and defaults. Existing names still work, or the error names the pack."""
    body = HEAD.replace(
        "return [operation()]",
        "chains = Alias('RHG', ('NGD',), ('RAD',)), Alias('MINE', ('NGD',), ('RAD',))\n"
        "    return [operation('CG'), operation('BAD', default=True, aliases=(Alias('RHG', ('NGD',), ('BAD',)),)),"
        " operation('RAD', default=True, aliases=chains)]",
    )
    body += "@hookimpl\ndef boat_optimizers():\n    return [OptimizerDeclaration('sgd', 's', 's', NoOptions, len)]\n"
    files = plugin(body) | {"hostile-1.0.dist-info/entry_points.txt": "[boat]\nna = hostile.plugin\n"}
    for name, solver in (
        ("bare", "map: NGD\n  approximate: CG"),
        ("ours", "map: NGD\n  approximate: 'boat-ops-na:CG'"),
        ("default", "map: NGD"),
        ("mine", "method: MINE"),
        ("rad", "approximate: RAD"),
    ):
        written(solver, name)
    named = "solver.lower_optimizer={name: 'boat-core:sgd', rate: 0.1}"
    fixed = ["--json", "--set", named, "--set", "solver.upper_optimizer=adam"]
    asked = [*ASKED, ["explain", "ours.yaml"]]
    asked += [["explain", f"{name}.yaml", *fixed] for name in ("bare", "ours", "default", "sound", "mine", "rad")]
    asked += [["solvers", "--json", "--with", "RHG"], ["solvers", "--with", "RAD"], ["ops", "show", "RAD"]]
    asked += [["ops", "check", "hostile", "--json"], ["run", "sound.yaml", *fixed[1:]]]
    target = install_by_hand("hostile", files)
    listed, doctor, counted, sgd, bare, ours, default, method, mine, *rest = answers(target, asked=asked)
    rad, with_method, with_rad, shown, checked, ran = rest
    assert listed[2] == ""
    names = [o["name"] for o in json.loads(listed[1])["operations"]]
    assert {"boat-ops-na:CG", "hostile:CG", "BAD", "boat-ops-na:RAD", "hostile:RAD"} <= set(names)
    found = json.loads(doctor[1])
    assert (doctor[0], found["broken"]) == (1, [])
    said = [finding["what"] for finding in found["findings"] if finding["distribution"] == "hostile"]
    assert any("operation 'CG' is declared by another pack" in what for what in said)
    assert any("optimizer 'sgd' is declared by another pack" in what for what in said)
    assert any("its method 'RHG' means NGD | BAD" in what for what in said)
    assert bare[0] == 2
    assert "solver.approximate: operation 'CG' is declared twice: write boat-ops-na:CG or hostile:CG" in bare[2]
    assert sgd[0] == 2
    assert "optimizer 'sgd' is declared twice: write boat-core:sgd or hostile:sgd" in sgd[2]
    assert json.loads(ours[1])["stages"][-1]["distribution"] == "boat-ops-na"
    for explained, distribution in ((default, "boat-ops-na"), (method, "boat-ops-na"), (mine, "hostile")):
        stage = json.loads(explained[1])["stages"][-1]
        assert (stage["name"], stage["distribution"]) == ("RAD", distribution)
    for code, _, err in (rad, with_rad, shown):
        assert (code, "is declared twice: write boat-ops-na:RAD or hostile:RAD" in err) == (2, True)
    bad = sum("BAD" in solver.get("approximate", ()) for solver in json.loads(counted[1])["solvers"])
    assert (json.loads(counted[1])["count"], bad > 0) == (solvers + bad, True)
    assert {"map": ["NGD"], "approximate": ["boat-ops-na:RAD"]} in json.loads(with_method[1])["solvers"]
    assert "declared twice" not in checked[1] + checked[2]
    assert (ran[0], "hostile" in ran[2]) == (0, False)


def test_duplicate_entry_point_name_is_accepted(install_by_hand, answers):
    files = plugin(HEAD) | {"hostile-1.0.dist-info/entry_points.txt": "[boat]\nna = hostile.plugin\n"}
    (listed,) = answers(install_by_hand("hostile", files), asked=ASKED[:1])
    names = {o["name"] for o in json.loads(listed[1])["operations"]}
    assert {"BAD", "CG", "RAD"} <= names
    assert listed[2] == ""


MISCONDUCT = {
    "structure": ("return Hypergradient(trajectory.y0)", "returned a vector of another space: hypergradient"),
    "shape": (
        "return Hypergradient(trajectory.end.direct.map(lambda a: a[:1]))",
        "expected shape [6] and dtype float64 (got [1] and float64)",
    ),
    "dtype": ("return Hypergradient(trajectory.end.direct.map(lambda a: a.int32()))", "(got [6] and int32)"),
    "nan": (
        "return Hypergradient(float('nan') * trajectory.end.direct)",
        "NaN or infinity",
    ),
    "inputs": (
        "trajectory.bilevel.upper_batch['targets'].assign(trajectory.bilevel.upper_batch['targets'] + 1)\n"
        "    return Hypergradient(trajectory.end.direct)",
        "changed an array that it was given",
    ),
    "nothing": ("return None", "returned NoneType, expected Hypergradient"),
    "no vector": ("return Hypergradient(trajectory.end.direct.tree)", "for hypergradient, expected Vector"),
    "raises": ("return 1 / 0", "raised ZeroDivisionError: division by zero"),
}


def test_misconduct_is_found_and_named(install_by_hand, answers, written, tmp_path):
    """Each fault has its own pack. All run in one process, because starting a process takes most of the time."""
    targets, asked = [], [["ops", "doctor", "--json", "--try"]]
    for name, (body, _) in MISCONDUCT.items():
        operation, package = name.upper().replace(" ", ""), f"hostile_{name.replace(' ', '_')}"
        text = changed("return Hypergradient(trajectory.end.direct)", body, changed("BAD", operation))
        files = {f"{package}/__init__.py": "", f"{package}/plugin.py": text}
        files[f"{package}-1.0.dist-info/entry_points.txt"] = f"[boat]\nx = {package}.plugin\n"
        targets.append(install_by_hand(package.replace("_", "-"), files))
        written(f"approximate: {operation}", package)
        asked.append(["run", f"{package}.yaml"])
    doctor, *runs = answers(*targets, asked=[*asked, ["run", "sound.yaml", "--json"]])
    found = {finding["distribution"]: finding for finding in json.loads(doctor[1])["findings"]}
    assert doctor[0] == 1
    assert {name for name in found if not name.startswith("hostile-")} == set()
    for (name, (_, cause)), (code, _, err) in zip(MISCONDUCT.items(), runs):
        distribution = f"hostile-{name.replace(' ', '-')}"
        assert cause in found[distribution]["what"], name
        assert found[distribution]["version"] == "1.0"
        assert found[distribution]["remedy"]
        assert code == 2
        line = err.splitlines()[-1]
        assert cause in line, name
        assert f"({distribution} 1.0)" in line
        folder = tmp_path / distribution.replace("-", "_")
        assert (folder / "metrics.jsonl").read_text("utf8") == ""  # no step was done
    assert runs[-1][0] == 0


def test_kernel_that_fails_to_compile_is_named_and_replaced_by_plain_operators(install_by_hand, answers, written):
    doubled = (
        "from pathlib import Path\n@kernel(Path(__file__).with_name('bad.cu'), like=('v',))\n"
        "def doubled(v):\n    '''2v'''\n    return (2.0 * v,)\n"
    )
    body = declaring("kernels=(doubled,)", doubled)
    body = changed("Hypergradient(trajectory.end.direct)", "Hypergradient(doubled(trajectory.end.direct)[0])", body)
    files = plugin(body) | {"hostile-1.0.dist-info/entry_points.txt": "[boat]\nx = hostile.plugin\n"}
    files["hostile/bad.cu"] = '#include "boat_kernel.h"\nthis is not C++;\n'
    written("approximate: BAD", "bad")
    target = install_by_hand("hostile", files)
    ran, doctor = answers(target, asked=[["run", "bad.yaml", "--json"], ["ops", "doctor", "--json"]])
    assert json.loads(ran[1].splitlines()[-1])["status"] == "finished"
    said = [line for line in ran[2].splitlines() if "are not used" in line]
    assert len(said) == 1
    assert "hostile 1.0: kernels of" in said[0] and "to try again, remove it" in said[0]
    (finding,) = json.loads(doctor[1])["findings"]
    assert (doctor[0], finding["distribution"], finding["version"]) == (1, "hostile", "1.0")
    assert "kernels doubled of" in finding["what"] and "did not compile" in finding["what"]
    assert "Plain operators do their work" in finding["remedy"]


def test_a_packs_observer_that_raises_is_reported_once_and_the_run_goes_on(install_by_hand, answers, written):
    body = HEAD + "@hookimpl\ndef boat_step_finished(run, step):\n    raise OSError('the disk is full')\n"
    files = plugin(body) | {"hostile-1.0.dist-info/entry_points.txt": "[boat]\nx = hostile.plugin\n"}
    written("method: RHG", "watched")
    asked = [["run", "watched.yaml", "--json", "--set", "run.steps=3"], ["run", "sound.yaml", "--json"]]
    watched, sound = answers(install_by_hand("hostile", files), asked=asked)
    said = "observer hostile 1.0 (x) was switched off: OSError in boat_step_finished: the disk is full"
    assert watched[2].count(said) == 1
    summary = json.loads(watched[1].splitlines()[-1])
    assert (summary["status"], summary["steps"]) == ("finished", 3)
    assert summary["observers_switched_off"] == [said]
    assert json.loads(sound[1].splitlines()[-1])["status"] == "finished"
