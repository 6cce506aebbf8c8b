"""Observers by name: what the libraries themselves read afterwards, and that one that fails costs itself alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from boat_core import ObserverDeclaration, cli, hookimpl, option
from boat_core.config.schema import read_config
from boat_core.errors import ConfigError, DeclarationError
from boat_core.plugins.registry import Declared
from boat_core.runs.observers.curves import step_curves
from boat_core.runs.run import run

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
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # pictures are another file's subject, and slow
    (tmp_path / "module.py").write_text(PROBLEM, "utf-8")
    (tmp_path / "config.yaml").write_text(CONFIG, "utf-8")


pytestmark = pytest.mark.filterwarnings("ignore:no picture")


def read(name, folder="a run"):
    text = Path(folder, name).read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()] if name.endswith("l") else json.loads(text)


def cut_and_resumed(observers):
    """Five steps, then seven from the checkpoint after the fourth; the lines on record."""
    run(read_config("config.yaml", [f"run.observers={observers}"]))
    Path("a run/checkpoints/step-000005.npz").unlink()
    assert run(read_config("a run/config.yaml", ["run.steps=7"]), resume="a run")["resumed_from"] == 4
    return read("metrics.jsonl"), read("evaluations.jsonl")


def test_tensorboard_reads_what_is_on_record_also_after_a_resume():
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator  # as the program does
    from tensorboard.util.tensor_util import make_ndarray

    steps, evaluations = cut_and_resumed("tensorboard")
    events = EventAccumulator("a run/tensorboard")
    events.Reload()

    def curve(name):
        return {event.step: make_ndarray(event.tensor_proto).item() for event in events.Tensors(name)}

    assert curve("loss/upper") == pytest.approx({line["iteration"]: line["upper_loss"] for line in steps})
    assert curve("loss/lower") == pytest.approx({line["iteration"]: line["lower_loss"] for line in steps})
    assert curve("hypergradient_norm")[6] == pytest.approx(steps[6]["report"]["hypergradient_norm"])
    assert curve("report/NONE/seen") == dict.fromkeys(range(7), 1)
    gaps = {line["iteration"]: line["gap (%)"] for line in evaluations}
    assert (curve("evaluation/gap____"), list(gaps)) == (pytest.approx(gaps), [2, 5, 6])
    for name in ("loss/upper", "concerns/text_summary"):  # none twice, none missing
        assert [event.step for event in events.Tensors(name)] == list(range(7))
    assert events.Tensors("concerns/text_summary")[6].tensor_proto.string_val == [b"NONE: it looks away"]


def test_mlflow_reads_what_is_on_record_also_after_a_resume():
    from mlflow import MlflowClient

    steps, evaluations = cut_and_resumed("[{name: mlflow, run_name: first}]")
    client = MlflowClient(Path("a run/mlruns").resolve().as_uri())
    experiment = client.get_experiment_by_name("toy")
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.run_name, found.info.status) == ("first", "FINISHED")
    assert found.data.params["solver.lower_optimizer.rate"] == "0.1"
    assert found.data.params["run.seed"] == "3"
    assert found.data.tags["boat-core"] == read("versions.json")["boat-core"]

    def curve(name):
        return [(metric.step, metric.value) for metric in client.get_metric_history(found.info.run_id, name)]

    assert curve("loss/upper") == [(line["iteration"], line["upper_loss"]) for line in steps]
    assert curve("report/NONE/seen") == [(k, 1.0) for k in range(7)]
    gaps = curve("evaluation/gap ___")
    assert [step for step, _ in gaps] == [2, 4, 5, 6]  # 4 was the last once, and MLflow takes nothing back
    assert set(gaps) >= {(line["iteration"], line["gap (%)"]) for line in evaluations}
    files = {file.path for file in client.list_artifacts(found.info.run_id)}
    assert files == {"config.yaml", "summary.json"}


@pytest.mark.parametrize(("fault", "status"), [("error", "FAILED"), ("interrupt", "KILLED")])
def test_mlflow_knows_how_a_run_ended(fault, status, tmp_path):
    """And keeps it where it is told to, whatever another server knows of an earlier part of the run."""
    from mlflow import MlflowClient

    options = f"experiment: mine, tracking_uri: {tmp_path}/kept"
    named = [f"run.observers={{name: mlflow, {options}}}", f"problem_options.fault={fault}"]
    with pytest.raises((ZeroDivisionError, KeyboardInterrupt)):
        run(read_config("config.yaml", [*named, "run.checkpoint_every=1"]))
    Path("a run/mlflow-run-id").write_text("0" * 32, "utf-8")
    with pytest.raises((ZeroDivisionError, KeyboardInterrupt)):
        run(read_config("config.yaml", [*named, "run.checkpoint_every=1"]), resume="a run")
    client = MlflowClient(str(tmp_path / "kept"))
    found = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    assert [one.info.status for one in found] == [status, status]
    assert [one.data.tags.get("message") for one in found] == [read("summary.json").get("message")] * 2


def test_with_tasks_a_curve_is_their_mean():
    figures = {"CG": {"iterations": [2, 4], "curvature": [None, 0.5], "stopped": ["tolerance", "maximum"]}}
    report = SimpleNamespace(hypergradient_norm=1.0, operations={**figures, "IGA": {"ratio": 3, "sure": True}})
    found = step_curves(SimpleNamespace(upper_loss=0.5, lower_loss=2, report=report))
    assert {name: value for name, value in found.items() if name.startswith("report")} == {
        "report/CG/iterations": 3,
        "report/CG/curvature": 0.5,
        "report/IGA/ratio": 3,
    }


@pytest.mark.parametrize(("name", "library"), [("tensorboard", "tensorboardX"), ("mlflow", "mlflow")])
def test_without_its_library_nothing_begins(name, library, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, library, None)
    (code, err), before = boat(capsys, "run", "config.yaml", f"--set=run.observers=[progress, {name}]"), os.listdir()
    assert code == 2
    assert err.startswith(f"boat: error: --set run.observers: observer {name} needs {library} (")
    assert err.endswith(f"; pip install 'boat-core[{name}]'\n")
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
        ("[mlflow, mlflow]", "config.yaml:15: run.observers: mlflow stands there twice"),
        (
            "\n    - progress\n    - name: tensorboard\n      foldr: x",
            "config.yaml:18: run.observers[1].foldr: unknown key; did you mean 'folder'?",
        ),
        (
            "{name: mlflow, experiment: 3}",
            "config.yaml:15: run.observers.experiment: expected a string or nothing (got 3 of type int)",
        ),
        ("\n    - name: mlfow", "config.yaml:16: run.observers[0].name: no observer 'mlfow'; did you mean 'mlflow'?"),
        ("\n    - mlflow\n    - name: needy", "config.yaml:17: run.observers[1].name: option 'what' is required"),
    ],
)
def test_a_name_or_option_that_does_not_fit_is_explained(observers, expected, toys, monkeypatch, capsys):
    @dataclass(frozen=True)
    class Needy:
        what: str = option(doc="anything")

    toys.declared.append(Declared(ObserverDeclaration("needy", "s", lambda options: None, Needy), "toys", "1.0"))
    monkeypatch.setitem(sys.modules, "mlflow", None)  # nothing is imported for that
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
def test_a_packs_observer_that_raises_is_told_once_and_changes_nothing(at, hook, toys, capsys):
    declaration = ObserverDeclaration("broken", "s", lambda options: Broken(at))
    toys.declared.append(Declared(declaration, "toys", "1.0"))
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
def test_an_observer_that_cannot_take_part_leaves_nothing(build, error, expected, toys):
    toys.declared.append(Declared(ObserverDeclaration("given", "s", build), "toys", "1.0"))
    before = toys.manager.get_plugins()
    with pytest.raises(error) as caught:
        run(read_config("config.yaml", ["run.observers=given"]))
    assert expected in str(caught.value)
    assert not Path("a run").exists()
    assert toys.manager.get_plugins() == before


def test_progress_is_shown_where_it_is_named_and_once(capsys):
    run(read_config("config.yaml"))
    assert "5/5" not in capsys.readouterr().err
    run(read_config("config.yaml", ["run.observers=progress", "run.out=b"]))
    assert capsys.readouterr().err.count("5/5") == 1
    _, err = boat(capsys, "run", "config.yaml", "--set=run.observers=[progress]", "--set=run.out=c")
    assert err.count("5/5") == 1


def test_no_library_is_imported_before_its_observer_is_built(tmp_path):
    """And PyTorch not even then."""
    (tmp_path / "torch.py").write_text("raise RuntimeError('imported')", "utf-8")
    script = """
import sys
import boat_core
from boat_core import cli
from boat_core.plugins.registry import registry
assert cli.main(["ops", "list"]) == 0
assert not {"tensorboardX", "tensorboard", "mlflow"} & sys.modules.keys()
declared = registry().observer("tensorboard").declaration
declared.build(declared.options())
assert "tensorboardX" in sys.modules and "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
