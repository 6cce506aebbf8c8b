"""`boat ops check` reports one line per flaw; `boat ops trace` reports which pack ran when."""

from __future__ import annotations

import json
import sys

from boat_core.cli import main

FLAWED = '''\
from dataclasses import dataclass
from pathlib import Path

import jittor

from boat_core import Alias, Cost, Excludes, Hypergradient, Operation, hookimpl, kernel, option
from boat_core.autodiff.vectors import Vector

BOAT_HOOK_API = 1
TEXT = {"summary": "s", "formula": "f", "source": "t"}


@dataclass(frozen=True)
class Options:
    size: int = option(1, ge=1, doc="")


@kernel(Path(__file__).with_name("absent.cu"), like=("v",))
def absent(v):
    """v"""
    return (v,)


def estimate(trajectory, options):
    end = trajectory.end
    return Hypergradient(end.direct - end.mixed_product(end.upper_gradient), report={"bad": {1, 2}})


CHEAP = Operation("CHEAP", "approximate", "estimator", apply=estimate, tags=("end-point",), options=Options,
    cost=lambda options, work: Cost(gradients=1), excludes=(Excludes(("GDAA",), "no"),),
    aliases=(Alias("QUICK", ("NGDD",), ("CHEAP",)),), **TEXT)
SILENT = Operation("SILENT", "approximate", "estimator", kernels=(absent,),
    apply=lambda trajectory, options: Hypergradient(trajectory.end.direct), **TEXT)


@hookimpl
def boat_approximate_operations():
    return [CHEAP, SILENT]
'''
BROKEN = """\
BOAT_HOOK_API = 2


def boat_problems():
    return []


def boat_prblems():
    return []
"""
EXPECTED = (
    "it does not require boat-core",
    "it has no licence",
    "flawed/plugin.py:7 uses boat_core.autodiff.vectors.Vector, which is not public",
    "flawed/plugin.py:4 imports Jittor when it is imported",
    "it has no py.typed",
    "operation CHEAP: option 'size' is not explained",
    "operation CHEAP: its module has no docstring",
    "operation CHEAP: its excludes name 'GDAA', and nothing goes by that; did you mean 'GDA'?",
    "operation CHEAP: its aliases name 'NGDD', and nothing goes by that; did you mean 'NGD'?",
    "operation CHEAP, NGD | CHEAP: AssertionError: more gradients than declared",
    "operation CHEAP, first order: AssertionError: a second derivative is taken, and none is declared",
    "operation SILENT: it declares no cost",
    "operation SILENT: the source of its kernel absent is not there",
    "operation SILENT: its kernel absent cannot be had here",
)


def checked(program, target, *arguments):
    done = program(
        *(sys.executable, "-m", "boat_core", "ops", "check", *arguments, "--json"),
        code=1,
        PYTHONPATH=str(target),
        BOAT_DISABLE_PLUGINS="example",
    )
    return json.loads(done.stdout)


def test_every_flaw_is_a_finding(install_by_hand, program):
    files = {"flawed/__init__.py": "", "flawed/plugin.py": FLAWED}
    files["flawed-1.0.dist-info/entry_points.txt"] = "[boat]\nx = flawed.plugin\n"
    found = checked(program, install_by_hand("flawed", files), "flawed")
    assert found["packs"] == ["flawed"]
    said = [finding["what"] for finding in found["findings"]]
    assert [text for text in EXPECTED if not any(what.startswith(text) for what in said)] == []
    assert all(finding["remedy"] and finding["version"] == "1.0" for finding in found["findings"])


def test_all_flaws_of_a_broken_pack_are_reported_at_once(install_by_hand, program):
    files = {"broken/__init__.py": "", "broken/plugin.py": BROKEN}
    files["broken-1.0.dist-info/entry_points.txt"] = "[boat]\nx = broken.plugin\n"
    said = {f["what"] for f in checked(program, install_by_hand("broken", files), "x", "--quick")["findings"]}
    assert {
        "set aside: its BOAT_HOOK_API is 2, and this boat-core speaks 1",
        "set aside: there is no hook 'boat_prblems'; did you mean 'boat_problems'?",
        "set aside: boat_problems lacks the mark @boat_core.hookimpl",
    } <= said


def test_metadata_that_cannot_be_read_is_a_finding(install_by_hand, program):
    target = install_by_hand("damaged", {"damaged-1.0.dist-info/entry_points.txt": "[boat]\nno equals sign\n"})
    found = checked(program, target, "--quick")
    assert "damaged" in found["packs"]
    (finding,) = found["findings"]
    assert finding["what"].startswith("set aside: its entry points cannot be read")


def test_our_packs_are_in_order(capsys):
    assert main(["ops", "check", "--quick"]) == 0
    assert capsys.readouterr().out.endswith("packs checked, nothing amiss.\n")


def test_unknown_pack_is_refused(capsys):
    assert main(["ops", "check", "boat-ops-nb"]) == 2
    assert "no pack 'boat-ops-nb' is installed; did you mean 'boat-ops-na'?" in capsys.readouterr().err


def test_trace_lists_every_hook_call(configure, program, tmp_path):
    """Run in a separate process, because the trace includes the calls made while packs are found."""
    config = configure(tmp_path, "map: [GDA]\n  approximate: [CG]", "config", lower_steps=3, steps=5)
    verb = ("-m", "boat_core", "ops", "trace", config, "--json", "--set", "run.observers=tensorboard")
    calls = json.loads(program(sys.executable, *verb, cwd=tmp_path).stdout)["calls"]
    others = ("boat-plugins-example", "boat-compat", "boat-ray")
    calls = [call for call in calls if call["distribution"] not in others]
    rows = [(call["what"], call["distribution"], call["times"]) for call in calls]
    assert rows == [
        ("boat_optimizers", "boat-core", 1),
        ("boat_observers", "boat-core", 1),
        ("boat_executors", "boat-core", 1),
        ("boat_sweep_places", "boat-core", 1),
        ("boat_commands", "boat-author", 1),
        ("boat_first_order_operations", "boat-ops-fo", 1),
        ("boat_map_operations", "boat-ops-gm", 1),
        ("boat_approximate_operations", "boat-ops-na", 1),
        ("boat_observers", "boat-view", 1),
        ("boat_commands", "boat-view", 1),
        ("boat_run_started", "boat_core.runs.observers.metrics", 1),
        ("GDA", "boat-ops-gm", 2),  # for the steps, and for the point at their end
        ("NGD", "boat-ops-gm", 3),
        ("CG", "boat-ops-na", 1),
        ("boat_step_finished", "boat_core.runs.observers.metrics", 1),
        ("boat_run_finished", "boat_core.runs.observers.metrics", 1),
    ]
    assert [call["gave"] for call in calls if call["what"] == "boat_map_operations"] == ["NGD, DM, GDA, DI"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == ["config.yaml", "toy.py"]
