"""The recording observers: TensorBoard and MLflow themselves read what was recorded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from boat_core import cli, read_config, run
from boat_view.observers.curves import step_curves

# One iteration of CG does not solve the lower problem's system, which is a concern of every step.
PROBLEM = """\
import numpy as np
import boat_core as boat
import jittor as jt

def make(seed, fault=""):
    def upper(x, y, batch):
        return ((y["w"][0] - 1) ** 2).sum() + (x * x).sum()

    def lower(x, y, batch):
        return (jt.array([1.0, 3.0]).float32() * (y["w"][0] - x - batch) ** 2).sum()

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
  approximate: CG
  lower_steps: 2
  lower_optimizer: {name: sgd, rate: 0.1, momentum: 0.5}
  upper_optimizer: {name: adam, rate: 0.1}
  options: {CG: {max_iterations: 1}}
run:
  steps: 5
  seed: 3
  out: a run
  checkpoint_every: 4
  evaluate_every: 3
  device: cpu
"""


@pytest.fixture(autouse=True)
def place(monkeypatch, tmp_path):
    """Work in a folder with a problem and a configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # pictures are slow, and another file's subject
    (tmp_path / "module.py").write_text(PROBLEM, "utf-8")
    (tmp_path / "config.yaml").write_text(CONFIG, "utf-8")


pytestmark = [
    pytest.mark.filterwarnings("ignore:no picture"),
    pytest.mark.filterwarnings("ignore::boat_core.DoubtfulWarning"),
]


def read(name, folder="a run"):
    text = Path(folder, name).read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()] if name.endswith("l") else json.loads(text)


def run_and_resume(observers):
    """Do five steps, then continue to seven from the checkpoint after the fourth. Return the recorded lines."""
    run(read_config("config.yaml", [f"run.observers={observers}"]))
    Path("a run/checkpoints/step-000005.npz").unlink()
    assert run(read_config("a run/config.yaml", ["run.steps=7"]), resume="a run")["resumed_from"] == 4
    return read("metrics.jsonl"), read("evaluations.jsonl")


def test_tensorboard_reads_every_number_also_after_a_resume():
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator  # as the program does
    from tensorboard.util.tensor_util import make_ndarray

    steps, evaluations = run_and_resume("tensorboard")
    events = EventAccumulator("a run/tensorboard")
    events.Reload()

    def curve(name):
        return {event.step: make_ndarray(event.tensor_proto).item() for event in events.Tensors(name)}

    assert curve("loss/upper") == pytest.approx({line["iteration"]: line["upper_loss"] for line in steps})
    assert curve("loss/lower") == pytest.approx({line["iteration"]: line["lower_loss"] for line in steps})
    assert curve("hypergradient_norm")[6] == pytest.approx(steps[6]["report"]["hypergradient_norm"])
    assert curve("report/CG/iterations") == dict.fromkeys(range(7), 1)
    gaps = {line["iteration"]: line["gap (%)"] for line in evaluations}
    assert (curve("evaluation/gap____"), list(gaps)) == (pytest.approx(gaps), [2, 5, 6])
    for name in ("loss/upper", "concerns/text_summary"):  # none twice, none missing
        assert [event.step for event in events.Tensors(name)] == list(range(7))
    concerns = "\n\n".join(steps[6]["report"]["concerns"])
    assert concerns and events.Tensors("concerns/text_summary")[6].tensor_proto.string_val == [concerns.encode()]


def test_mlflow_reads_every_number_also_after_a_resume():
    from mlflow import MlflowClient

    steps, evaluations = run_and_resume("[{name: mlflow, run_name: first}]")
    client = MlflowClient(Path("a run/mlruns").resolve().as_uri())
    experiment = client.get_experiment_by_name("toy")
    (recorded,) = client.search_runs([experiment.experiment_id])
    assert (recorded.info.run_name, recorded.info.status) == ("first", "FINISHED")
    assert recorded.data.params["solver.lower_optimizer.rate"] == "0.1"
    assert recorded.data.params["run.seed"] == "3"
    assert recorded.data.tags["boat-core"] == read("versions.json")["boat-core"]

    def curve(name):
        return [(metric.step, metric.value) for metric in client.get_metric_history(recorded.info.run_id, name)]

    assert curve("loss/upper") == [(line["iteration"], line["upper_loss"]) for line in steps]
    assert curve("report/CG/iterations") == [(k, 1.0) for k in range(7)]
    gaps = curve("evaluation/gap ___")
    assert [step for step, _ in gaps] == [2, 4, 5, 6]  # 4 was the last step once, and MLflow cannot take it back
    assert set(gaps) >= {(line["iteration"], line["gap (%)"]) for line in evaluations}
    files = {file.path for file in client.list_artifacts(recorded.info.run_id)}
    assert files == {"config.yaml", "summary.json"}


@pytest.mark.parametrize(("fault", "status"), [("error", "FAILED"), ("interrupt", "KILLED")])
def test_mlflow_records_how_a_run_ended(fault, status, tmp_path):
    """A run whose id the server does not know is a new run there."""
    from mlflow import MlflowClient

    options = f"experiment: mine, tracking_uri: {tmp_path}/kept"
    named = [f"run.observers={{name: mlflow, {options}}}", f"problem_options.fault={fault}"]
    with pytest.raises((ZeroDivisionError, KeyboardInterrupt)):
        run(read_config("config.yaml", [*named, "run.checkpoint_every=1"]))
    Path("a run/mlflow-run-id").write_text("0" * 32, "utf-8")
    with pytest.raises((ZeroDivisionError, KeyboardInterrupt)):
        run(read_config("config.yaml", [*named, "run.checkpoint_every=1"]), resume="a run")
    client = MlflowClient(str(tmp_path / "kept"))
    recorded = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    assert [one.info.status for one in recorded] == [status, status]
    assert [one.data.tags.get("message") for one in recorded] == [read("summary.json").get("message")] * 2


def test_with_tasks_a_curve_is_their_mean():
    figures = {"CG": {"iterations": [2, 4], "curvature": [None, 0.5], "stopped": ["tolerance", "maximum"]}}
    report = SimpleNamespace(hypergradient_norm=1.0, operations={**figures, "IGA": {"ratio": 3, "sure": True}})
    curves = step_curves(SimpleNamespace(upper_loss=0.5, lower_loss=2, report=report))
    assert {name: value for name, value in curves.items() if name.startswith("report")} == {
        "report/CG/iterations": 3,
        "report/CG/curvature": 0.5,
        "report/IGA/ratio": 3,
    }


@pytest.mark.parametrize(("name", "library"), [("tensorboard", "tensorboardX"), ("mlflow", "mlflow")])
def test_missing_library_is_an_error_before_the_run(name, library, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, library, None)
    code = cli.main(["run", "config.yaml", f"--set=run.observers=[progress, {name}]"])
    err, files = capsys.readouterr().err, os.listdir()
    assert code == 2
    assert err.startswith(f"boat: error: --set run.observers: observer {name} needs {library} (")
    assert err.endswith(f"; pip install 'boat-view[{name}]'\n")
    assert sorted(files) == ["config.yaml", "module.py"]  # not even the problem was imported


@pytest.mark.parametrize(
    ("observers", "expected"),
    [
        ("{name: tensorboard, foldr: x}", "run.observers.foldr: unknown option; did you mean 'folder'?"),
        ("{name: mlflow, experiment: 3}", "run.observers.experiment: expected a string or nothing (got 3 of type int)"),
        ("[mlflow, mlflow]", "run.observers: mlflow is listed twice"),
    ],
)
def test_invalid_options_are_refused_without_the_library(observers, expected, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert cli.main(["explain", "config.yaml", f"--set=run.observers={observers}"]) == 2
    assert expected in capsys.readouterr().err


def test_libraries_are_imported_when_an_observer_is_built(tmp_path):
    """And PyTorch is not even imported then."""
    (tmp_path / "torch.py").write_text("raise RuntimeError('imported')", "utf-8")
    script = """
import sys
import boat_core
from boat_core import cli
assert cli.main(["ops", "list"]) == 0
assert not {"matplotlib", "tensorboardX", "tensorboard", "mlflow"} & sys.modules.keys()
declared = boat_core.installed().observer("tensorboard").declaration
declared.build(declared.options())
assert "tensorboardX" in sys.modules and "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
