"""Observers by name: their options, their errors, and that a failing observer changes nothing else."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from boat_core import ObserverDeclaration, cli, hookimpl, option, read_config, run
from boat_core.errors import ConfigError, DeclarationError

PROBLEM = """\
import numpy as np
import boat_core as boat

def make(seed, fault=""):
    def upper(x, y, batch):
        return ((y["w"][0] - 1) ** 2).sum() + (x * x).sum()

    def lower(x, y, batch):
        return ((y["w"][0] - x - batch) ** 2).sum()

    def batches(k, rng):
        if k == 3 and fault:
            raise KeyboardInterrupt if fault == "interrupt" else ZeroDivisionError("a problem's own")
        return rng.standard_normal(2).astype("float32"), None

    def evaluate(x, y):
        return {"gap (%)": np.abs(x.numpy() - y["w"][0].numpy()).max()}

    x, w = np.full(2, float(seed), "float32"), np.zeros(2, "float32")
    return boat.Problem(upper, lower, x, {"w": [w]}, batches, evaluate, name="toy")
"""

CONFIG = """\
problem: module:make
solver:
  map: STEP
  approximate: NONE
  lower_steps: 2
  lower_optimizer: {name: sgd, rate: 0.1, momentum: 0.5}
  upper_optimizer: {name: adam, rate: 0.1}
run:
  steps: 5
  seed: 3
  out: a run
  checkpoint_every: 4
  evaluate_every: 3
  device: cpu
"""


@pytest.fixture(autouse=True)
def place(monkeypatch, only_toys_installed, tmp_path):
    """A folder with a problem and a configuration, in which the toy operations are what is installed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # pictures are another file's subject, and slow
    (tmp_path / "module.py").write_text(PROBLEM, "utf-8")
    (tmp_path / "config.yaml").write_text(CONFIG, "utf-8")


pytestmark = pytest.mark.filterwarnings("ignore:no picture")


def read(name, folder="a run"):
    text = Path(folder, name).read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()] if name.endswith("l") else json.loads(text)


@pytest.mark.parametrize("requires", ["watching[all]", ""])
def test_without_its_library_nothing_begins(requires, declare, capsys):
    def build(options):
        raise ModuleNotFoundError("No module named 'watching'", name="watching")

    declare(ObserverDeclaration("given", "s", build, requires=requires))
    (code, err), before = boat(capsys, "run", "config.yaml", "--set=run.observers=[progress, given]"), os.listdir()
    assert code == 2
    assert err.startswith("boat: error: --set run.observers: observer given needs watching (")
    assert err.endswith("; pip install 'watching[all]'\n") == bool(requires)
    assert sorted(before) == ["config.yaml", "module.py"]  # not even the problem was imported


def boat(capsys, *arguments):
    code = cli.main([*arguments])
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("observers", "expected"),
    [
        ("tensorbord", "config.yaml:15: run.observers: no observer 'tensorbord'; did you mean 'tensorboard'?"),
        ("3", "config.yaml:15: run.observers: expected a string or a mapping or a list or nothing (got 3"),
        ("\n    - 3", "config.yaml:15: run.observers: expected names, and a name beside options, such as "),
        ("{folder: x}", "config.yaml:15: run.observers: expected names, and a name beside options, such as "),
        ("mlflow", "config.yaml:15: run.observers: observer 'mlflow' is in boat-view, which is not installed; pip "),
        ("[progress, progress]", "config.yaml:15: run.observers: progress is listed twice"),
        (
            "\n    - progress\n    - name: needy\n      whet: x",
            "config.yaml:18: run.observers[1].whet: unknown option; did you mean 'what'?",
        ),
        (
            "{name: needy, what: 3}",
            "config.yaml:15: run.observers.what: expected a string (got 3 of type int)",
        ),
        ("\n    - name: mlfow", "config.yaml:16: run.observers[0].name: no observer 'mlfow'; did you mean 'mlflow'?"),
        ("\n    - progress\n    - name: needy", "config.yaml:17: run.observers[1].name: option 'what' is required"),
    ],
)
def test_a_name_or_option_that_does_not_fit_is_explained(observers, expected, declare, capsys):
    @dataclass(frozen=True)
    class Needy:
        what: str = option(doc="anything")

    declare(ObserverDeclaration("needy", "s", lambda options: None, Needy))
    Path("config.yaml").write_text(f"{CONFIG}  observers: {observers}\n", "utf-8")
    code, err = boat(capsys, "explain", "config.yaml")
    assert (code, err.count("\n")) == (2, 1)
    assert expected in err


class Broken:
    def __init__(self, at):
        self.at = at

    @hookimpl
    def boat_evaluated(self, run, iteration, numbers):
        assert list(numbers) == ["gap (%)"]
        if iteration == self.at:
            raise OSError("the disk is full")

    @hookimpl
    def boat_run_finished(self, run, summary):
        if self.at == "end":
            raise OSError("the disk is full")


@pytest.mark.parametrize(("at", "hook"), [(2, "boat_evaluated"), ("end", "boat_run_finished")])
def test_a_packs_observer_that_raises_is_told_once_and_changes_nothing(at, hook, declare, capsys):
    declaration = ObserverDeclaration("broken", "s", lambda options: Broken(at))
    declare(declaration)
    run(read_config("config.yaml", ["run.out=alone"]))
    for out, json_too in (("plain", []), ("json", ["--json"])):
        arguments = ["run", "config.yaml", f"--set=run.out={out}", "--set=run.observers=broken", *json_too]
        assert cli.main(arguments) == 0
        printed, err = capsys.readouterr()
        said = f"observer toys 1.0 (broken) was switched off: OSError in {hook}: the disk is full"
        assert err.count(said) == 1
        assert read("summary.json", out)["observers_switched_off"] == [said]
        assert (json.loads(printed)["observers_switched_off"] == [said]) if json_too else (said in printed)
        with np.load("alone/variables.npz") as alone, np.load(f"{out}/variables.npz") as watched:
            assert all(np.array_equal(alone[name], watched[name]) for name in alone)
    assert "observers_switched_off" not in read("summary.json", "alone")


class Wrong:
    @hookimpl
    def boat_step_finished(self, run, stp):
        pass


class Unable:
    def __init__(self, options):
        raise ValueError("no such colour")


@pytest.mark.parametrize(
    ("build", "error", "expected"),
    [
        (lambda options: Wrong(), DeclarationError, "observer toys 1.0 (given): "),
        (Unable, ConfigError, "--set run.observers: observer given could not be built: ValueError: no such colour ("),
    ],
)
def test_an_observer_that_cannot_take_part_leaves_nothing(build, error, expected, declare):
    declare(ObserverDeclaration("given", "s", build))
    with pytest.raises(error) as caught:
        run(read_config("config.yaml", ["run.observers=given"]))
    assert expected in str(caught.value)
    assert not Path("a run").exists()


def test_progress_is_shown_where_it_is_named_and_once(capsys):
    run(read_config("config.yaml"))
    assert "5/5" not in capsys.readouterr().err
    run(read_config("config.yaml", ["run.observers=progress", "run.out=b"]))
    assert capsys.readouterr().err.count("5/5") == 1
    _, err = boat(capsys, "run", "config.yaml", "--set=run.observers=[progress]", "--set=run.out=c")
    assert err.count("5/5") == 1
