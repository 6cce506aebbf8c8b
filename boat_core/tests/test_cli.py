"""The command: what it prints, its exit codes, and one line for every error."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from boat_core import cli
from boat_core.plugins.discovery import installed_as
from boat_core.plugins.entries import BrokenPack

CONFIG = """\
problem: module:make
solver:
  map: [SUM]
  approximate: HALF
  lower_steps: 4
  lower_optimizer: {name: sgd, rate: 0.1}
  upper_optimizer: {name: adam}
run: {steps: 2}
"""


@pytest.fixture
def boat(monkeypatch, only_toys_installed, capsys, tmp_path):
    """Run the command over the toy operations; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIG, "utf-8")

    def boat(*arguments):
        code = cli.main(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return boat


def test_ops_list(boat, toys):
    code, out, _ = boat("ops", "list", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["broken"] == []
    assert [o["name"] for o in found["operations"]] == [e.name for e in toys.entries]
    assert set(found["operations"][0]) == {
        *("name", "stage", "role", "summary", "source", "distribution", "version", "options", "kernels"),
    }
    code, out, _ = boat("ops", "list", "--stage", "first-order")
    assert [line.split()[0] for line in out.splitlines()] == ["name", "BOTH"]


def test_ops_show(boat):
    code, out, _ = boat("ops", "show", "HALF", "--json")
    found = json.loads(out)
    assert (code, found["needs"][0]["names"], found["excludes"][0]["what"]) == (0, ["SUM"], ["end-point"])
    assert sorted(found["composes_with"]) == ["ALL", "OTHER", "STEP", "SUM"]
    assert found["doc"].startswith("A registry of toy operations")
    code, out, _ = boat("ops", "show", "HALF")
    assert code == 0
    assert "needs          SUM: half of one is nothing\n" in out
    assert "takes part in  2 solvers\n" in out


def test_ops_doctor(boat, toys):
    assert boat("ops", "doctor")[:2] == (0, "1 pack with 7 operations loaded, none set aside.\n")
    poor = BrokenPack("poor", "1.0", "pack", "its import failed", "Mend it")
    with installed_as(replace(toys, broken=(poor,))):
        code, out, _ = boat("ops", "doctor", "--json")
        assert (code, json.loads(out)["broken"][0]["distribution"]) == (1, "poor")
        assert boat("ops", "doctor")[0] == 1


def test_solvers(boat):
    found = json.loads(boat("solvers", "--json")[1])
    assert found["count"] == len(found["solvers"])
    assert {"first_order": "BOTH"} in found["solvers"]
    chosen = json.loads(boat("solvers", "--json", "--with", "HALF", "--with", "OTHER")[1])
    assert chosen["count"] == 1
    assert sorted(chosen["solvers"][0]["map"]) == ["OTHER", "STEP", "SUM"]
    assert chosen["solvers"][0]["approximate"] == ["HALF", "ALL"]


def test_explain(boat):
    code, out, _ = boat("explain", "config.yaml", "--json")
    found = json.loads(out)
    assert code == 0
    assert [stage["name"] for stage in found["stages"]] == ["SUM", "STEP", "HALF", "ALL"]
    assert (found["cost"], found["second_derivatives"]) == ({"gradients": 6, "hvps": 1}, True)
    assert found["holds"] == {"iterates": 5, "graph_steps": None, "allowed": 40 * 2**20}
    assert "the graph of as many steps as fit into 40.0 MiB" in boat("explain", "config.yaml")[1]
    for segment, holds in (("1", (5, 1)), ("3", (5, 3)), ("all", (5, 4)), ("sqrt", (4, 1))):
        found = json.loads(boat("explain", "config.yaml", "--json", "--set", f"solver.segment={segment}")[1])
        assert (found["holds"]["iterates"], found["holds"]["graph_steps"]) == holds
    assert "6 gradients, 1 Hessian-vector product" in boat("explain", "config.yaml")[1]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("opps", "argument VERB: no 'opps'; did you mean 'ops'? (see boat --help)"),
        ("ops lst", "argument VERB: no 'lst'; did you mean 'list'? (see boat ops --help)"),
        ("ops list --jsn", "unrecognized argument '--jsn'; did you mean '--json'? (see boat ops list --help)"),
        ("ops list --stage mapp", "argument --stage: no 'mapp'; did you mean 'map'? (see boat ops list --help)"),
        ("explain", "the following arguments are required: CONFIG (see boat explain --help)"),
        ("run", "expected a CONFIG, or --resume FOLDER (see boat run --help)"),
        ("ops show HALV", "no operation 'HALV'; did you mean 'HALF'?"),
        ("solvers --with CG", "operation 'CG' is in boat-ops-na, which is not installed; pip install boat-ops-na"),
        ("explain absent.yaml", "absent.yaml: cannot be read: No such file or directory"),
        (
            "explain config.yaml --set solver.map=STEP",
            "config.yaml:4: solver.approximate: HALF needs SUM: half of one is nothing",
        ),
        ("explain config.yaml --set run.steps=x", "--set run.steps: expected an integer >= 1 (got 'x' of type str)"),
        ("run config.yaml --set problem=absent", "--set problem: no problem 'absent'; or write MODULE:FUNCTION"),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(boat, arguments, expected):
    assert boat(*arguments.split()) == (2, "", f"boat: error: {expected}\n")


def test_debug_shows_the_traceback(boat):
    code, _, err = boat("--debug", "ops", "show", "HALV")
    assert (code, err.startswith("Traceback")) == (2, True)
    assert boat("ops", "show", "HALV", "--debug")[2].startswith("Traceback")


def test_help_and_version(boat):
    assert boat("--version")[0] == 0
    assert boat("run", "--help")[0] == 0
    code, out, err = boat()
    assert (code, out) == (2, "")
    assert err.startswith("usage: boat")


def test_warnings_are_one_line(boat, monkeypatch):
    monkeypatch.setenv("BOAT_IMPORT_SECONDS", "a while")
    code, _, err = boat("ops", "list")
    assert (code, err) == (0, "boat: warning: BOAT_IMPORT_SECONDS: expected a number of seconds (got 'a while')\n")


def test_a_terminal_gets_a_table_that_fits(boat, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    code, out, _ = boat("ops", "list")
    assert code == 0
    assert "BOTH" in out
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in out.splitlines()) <= 50


def test_doctor(boat):
    code, out, _ = boat("doctor", "--json")
    found = json.loads(out)
    assert code == (1 if any(f["level"] == "error" for f in found["findings"]) else 0)
    assert {"python", "jittor", "compiler", "onednn", "cuda", "caches", "decisions"} <= found.keys()
    assert boat("doctor")[0] == code


LISTS = (
    "ops list, ops list --json, ops show {name}, ops doctor, optimizers list, optimizers show adam, problems list,"
    " solvers, explain {config}, explain {config} --json, doctor"
)


def test_lists_do_not_import_jittor(tmp_path):
    """Run in a separate process: verbs that only list or show must work without the backend."""
    (tmp_path / "config.yaml").write_text(CONFIG.replace("map: [SUM]", "").replace("approximate: HALF", "method: RHG"))
    code = f"""
import sys
from boat_core import *  # as the plugin of a pack may
from boat_core.cli import main
from boat_core.plugins.discovery import installed
name = [*(e.name for e in installed().entries), "none"][0]
for line in {LISTS!r}.split(", "):
    main(line.format(name=name, config={str(tmp_path / "config.yaml")!r}).split())
print(sorted({{"jittor", "jittor_utils"}} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stderr.splitlines()[-1] == "[]", done.stderr


def test_closed_output_pipe_is_no_error(tmp_path):
    """`boat ops list | head -1` ends without a complaint; `python -m boat_core` is the same command."""
    command = f"{sys.executable} -m boat_core ops list --json | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stderr == ""


def shell(command, encoding=None):
    environment = {**os.environ, **({"PYTHONIOENCODING": encoding} if encoding else {})}
    command = command.replace("boat ", f"{sys.executable} -m boat_core ")
    return subprocess.run(["bash", "-c", command], env=environment, capture_output=True, check=False)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_output_in_every_encoding(encoding):
    """Formulas hold characters such as ∇ and ², which a terminal may lack."""
    told = shell("boat optimizers show adam", encoding)
    assert (told.returncode, told.stderr) == (0, b"")
    assert ("√v̂" if encoding == "utf-8" else r"\u221av\u0302").encode() in told.stdout
    expected = json.loads(shell("boat optimizers show adam --json", "utf-8").stdout.decode("utf-8"))
    assert json.loads(shell("boat optimizers show adam --json", encoding).stdout.decode(encoding)) == expected
    refused = shell("boat optimizers show ∇", encoding)
    assert refused.returncode == 2 and refused.stderr.startswith(b"boat: error: no optimizer or schedule")


@pytest.mark.parametrize("verb", ["solvers", "solvers --json", "optimizers show adam", "--help", "--version"])
def test_output_that_cannot_be_written(verb):
    full = shell(f"boat {verb} >/dev/full")
    expected = b"boat: error: the output cannot be written: No space left on device\n"
    assert (full.returncode, full.stderr) == (2, expected)
    closed = shell(f"boat {verb} >&- <&-")
    assert (closed.returncode, closed.stderr) == (0, b"")
    unread = shell(f"boat {verb} | true; exit ${{PIPESTATUS[0]}}")
    assert (unread.returncode in (0, 141), unread.stderr) == (True, b"")


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-", ">&- 2>&- <&-"])
def test_errors_that_cannot_be_written(where):
    assert shell(f"boat ops show NONE {where}").returncode == 2


def test_the_standard_streams_are_given_back(boat):
    before = sys.stdout, sys.stderr
    boat("--version")
    assert (sys.stdout, sys.stderr) == before


def test_optimizers_list_and_show(boat):
    code, out, _ = boat("optimizers", "list", "--json")
    found = json.loads(out)
    names = [row["name"] for row in found["optimizers"]]
    assert code == 0 and {"sgd", "lion", "clip_by_norm"} <= set(names)
    assert {schedule["name"] for schedule in found["schedules"]} >= {"cosine", "warmup"}
    code, out, _ = boat("optimizers", "list")
    assert code == 0 and all(re.search(rf"^{name} ", out, flags=re.MULTILINE) for name in [*names, "cosine"])
    for name in [*names, "cosine"]:
        code, out, _ = boat("optimizers", "show", name)
        assert code == 0 and "option" in out
    _, out, _ = boat("optimizers", "show", "adam")
    assert "y ← y - η m̂ / (√v̂ + ε)" in out and re.search(r"^beta2 +a number >= 0 and < 1, may vary +0.999", out, re.M)
    code, _, err = boat("optimizers", "show", "adan2")
    assert code == 2 and "no optimizer or schedule 'adan2'; did you mean 'adan'?" in err
