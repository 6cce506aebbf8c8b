"""Runs: what their folders hold afterwards, what observers see, and which runs cannot start or be resumed.

test_run_endings.py has the ways in which a run ends, and that a resumed run gives the same numbers.
"""

from __future__ import annotations

import io
import json
import os
import re
import socket
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from boat_core import ConfigError, ExecutorDeclaration, Job, Sequential, cli, hookimpl, read_config, run
from boat_core.runs.artifacts import RunWarning
from boat_core.runs.folder import lock_folder
from boat_core.runs.observers.progress import Progress

PROBLEM = '''\
"""min over x of |y - 1|^2 + |x|^2 with y near x + noise."""
import numpy as np
import boat_core as boat

def make(seed, fault="", at=3):
    def upper(x, y, batch):
        return ((y["w"][0] - 1) ** 2).sum() + (x * x).sum()

    def lower(x, y, batch):
        return ((y["w"][0] - x - batch) ** 2).sum()

    def batches(k, rng):
        if k == at and fault == "error":
            raise ZeroDivisionError("a problem's own")
        if k == at and fault == "batches":
            return None
        pair = rng.standard_normal(2).astype("float32"), None
        return boat.Tasks({k % 3: pair}) if fault == "tasks" else pair

    def evaluate(x, y):
        if fault == "evaluate":
            return {"gap": "wide"}
        y = y["0"] if fault == "tasks" else y
        return {"gap": np.abs(x.numpy() - y["w"][0].numpy()).max(), "endless": float("inf")}

    def panel(axes, x, y):
        if fault == "panel":
            raise KeyError("nothing to draw")
        axes.plot(x, (y["0"] if fault == "tasks" else y)["w"][0])

    x, w = np.full(2, float(seed), "float32"), np.zeros(2, "float32")
    return boat.Problem(upper, lower, x, {"w": [w]}, batches, evaluate, panels={"x and y": panel}, name="toy")
'''

CONFIG = """\
problem: module:make
solver:
  map: STEP
  lower_steps: 2
  lower_optimizer: {name: sgd, rate: 0.1, momentum: 0.5}
  upper_optimizer: {name: adam, rate: 0.1}
run: {steps: 7, seed: 3, out: out, checkpoint_every: 2, device: cpu}
"""


@pytest.fixture(autouse=True)
def place(monkeypatch, only_toys_installed, tmp_path):
    """A folder with a problem and a configuration, in which the toy operations are what is installed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "module.py").write_text(PROBLEM, "utf-8")
    (tmp_path / "config.yaml").write_text(CONFIG, "utf-8")


def read(name, folder="out"):
    with open(f"{folder}/{name}", encoding="utf-8") as file:
        return [json.loads(line) for line in file] if name.endswith("l") else json.load(file)


def variables(folder="out"):
    with np.load(f"{folder}/variables.npz", allow_pickle=False) as stored:
        return dict(stored)


def test_what_a_run_leaves(tmp_path):
    summary = run(read_config("config.yaml", ["run.evaluate_every=3"]))
    assert summary == read("summary.json")
    assert (summary["status"], summary["steps"], summary["evaluation"]["endless"]) == ("finished", 7, "inf")
    assert summary["seconds_computing"] + summary["seconds_compiling"] <= summary["seconds_total"] + 0.01
    metrics = read("metrics.jsonl")
    assert [line["iteration"] for line in metrics] == list(range(7))
    assert metrics[-1]["upper_loss"] == summary["upper_loss"]
    assert [line["iteration"] for line in read("evaluations.jsonl")] == [2, 5, 6]
    assert {name: value.dtype for name, value in variables().items()} == {"upper": "float32", "lower/w/0": "float32"}
    assert {"python", "boat-core", "jittor", "numpy", "device", "decisions"} <= set(read("versions.json"))
    assert sorted(os.listdir("out/checkpoints")) == [f"step-00000{step}.npz" for step in (2, 4, 6, 7)]
    assert (tmp_path / "out" / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert not [name for name in os.listdir() if name.startswith(".")]


def test_the_configuration_it_leaves_gives_the_same_run():
    run(read_config("config.yaml"))
    run(read_config("out/config.yaml", ["run.out=again"]))
    assert all(np.array_equal(value, variables("again")[name]) for name, value in variables().items())


def boat(capsys, *arguments):
    code = cli.main(["run", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(
    ("fault", "error", "steps"),
    [
        ("error", "ZeroDivisionError: a problem's own", 3),
        (
            "batches",
            "RunError: problem.batches: expected (lower_batch, upper_batch) or boat_core.Tasks (got NoneType)",
            3,
        ),
        ("evaluate", "RunError: problem.evaluate: expected a number for 'gap' (got str)", 7),
    ],
)
def test_an_error_leaves_a_complete_folder(capsys, fault, error, steps):
    code, _, err = boat(capsys, "config.yaml", "--set", f"problem_options.fault={fault}")
    assert (code, err.splitlines()[-1].removeprefix("boat: error: ")) == (2, error.removeprefix("RunError: "))
    summary = read("summary.json")
    assert (summary["status"], summary["message"], summary["steps"]) == ("failed", error, steps)
    assert len(read("metrics.jsonl")) == steps
    assert set(variables()) == {"upper", "lower/w/0"}


def test_a_panel_that_fails_costs_the_panel_only():
    with pytest.warns(RunWarning, match="panel 'x and y' could not be drawn: KeyError: 'nothing to draw'"):
        summary = run(read_config("config.yaml", ["problem_options.fault=panel"]))
    assert summary["status"] == "finished"
    assert os.path.exists("out/picture.png")


def test_without_matplotlib_the_run_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.warns(RunWarning, match=re.escape("pip install 'boat-core[plots]'")):
        assert run(read_config("config.yaml"))["status"] == "finished"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], "out exists; choose another folder with --set run.out=FOLDER"),
        (["run.out=module.py/x"], "module.py/x cannot be made: "),
        (["run.out=" + "a" * 300], " cannot be made: File name too long; choose another name"),
        (['run.out="a\\0b"'], "--set run.out: 'a\\x00b' cannot be read: it holds a null character"),
        (["run.out=new", "problem_path=" + "a" * 300], "--set problem_path: "),
        (["run.out=new", 'problem_path="\\0"'], "--set problem_path: "),
        (["run.out=new", "solver.start=upper"], "upper"),
        (
            ["run.out=new", "problem_options.faults=x"],
            "--set problem_options.faults: no option of module:make; did you mean 'fault'?",
        ),
        (["run.out=new", "solver.map=[STEPP]"], "--set solver.map: no operation 'STEPP'; did you mean 'STEP'?"),
    ],
)
def test_what_cannot_start_leaves_nothing(capsys, tmp_path, overrides, expected):
    if not overrides:
        (tmp_path / "out").mkdir()
    before = set(os.listdir())
    code, _, err = boat(capsys, "config.yaml", *(word for o in overrides for word in ("--set", o)))
    assert (code, err.count("\n")) == (2, 1)
    assert expected in err
    assert set(os.listdir()) - {"__pycache__"} == before


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["solver.lower_steps=5"], "--set solver.lower_steps: the run in out has 2, and goes on with that only"),
        (["run.seed=1"], "--set run.seed: the run in out has 3, and goes on with that only"),
        (["problem_options.at=1"], "--set problem_options.at: the run in out has None, and goes on with that only"),
        (["run.steps=1"], "step-000007.npz is after step 7, and run.steps is 1"),
        ("damaged", "step-000007.npz: expected a checkpoint, whole and as it was written ("),
        ("damaged", "; the 1 before it are damaged too"),
        ("none", "out: expected a checkpoint in out/checkpoints; a run writes one when it ends, and every "),
        pytest.param(
            "locked",
            f"out is in use by process {os.getpid()} on {socket.gethostname()}; one process at a time",
            id="locked",  # two workers must give a test the same name
        ),
        ("absent", "absent/config.yaml: cannot be read"),
    ],
)
def test_what_cannot_be_resumed(capsys, overrides, expected):
    run(read_config("config.yaml", ["run.checkpoint_every=6"]))
    for path in Path("out/checkpoints").iterdir():
        if overrides == "damaged":
            os.truncate(path, 300)
        if overrides == "none":
            path.unlink()
    before = read("summary.json")
    settings = [word for o in overrides for word in ("--set", o)] if isinstance(overrides, list) else []
    with lock_folder(Path("out")) if overrides == "locked" else nullcontext():
        code, _, err = boat(capsys, "--resume", "absent" if overrides == "absent" else "out", *settings)
    assert code == 2
    assert expected in err.splitlines()[-1]
    assert (read("summary.json"), len(read("metrics.jsonl"))) == (before, 7)


class Watcher:
    """Notes the hooks in the order of their calls."""

    def __init__(self, raising=()):
        self.seen = []
        self.raising = raising

    def note(self, name):
        self.seen.append(name)
        if name in self.raising:
            raise ValueError(f"at {name}")

    @hookimpl
    def boat_run_started(self, run):
        assert (run.steps, run.folder.is_dir(), run.problem.name) == (7, True, "toy")
        self.note("started")

    @hookimpl
    def boat_step_finished(self, run, step):
        self.note(step.iteration)

    @hookimpl
    def boat_checkpoint_written(self, run, path):
        assert path.exists()
        self.note(path.name)

    @hookimpl
    def boat_run_finished(self, run, summary):
        self.note(summary["status"])


def test_observers_see_the_run_and_cannot_harm_it():
    watcher, broken = Watcher(), Watcher(raising=[1])
    with pytest.warns(match="was switched off: ValueError in boat_step_finished: at 1"):
        run(read_config("config.yaml", ["run.checkpoint_every=4"]), [watcher, broken])
    assert watcher.seen == ["started", 0, 1, 2, 3, "step-000004.npz", 4, 5, 6, "step-000007.npz", "finished"]
    assert broken.seen == ["started", 0, 1]


def test_the_next_run_knows_nothing_of_the_observers_of_one():
    watcher = Watcher()
    run(read_config("config.yaml"), [watcher])
    seen = list(watcher.seen)
    run(read_config("config.yaml", ["run.out=another"]))
    assert watcher.seen == seen


class Spoiler:
    @hookimpl
    def boat_run_finished(self, run, summary):
        summary.clear()


def test_an_observer_cannot_change_the_summary():
    summary = run(read_config("config.yaml"), [Spoiler()])
    assert summary["status"] == "finished"
    assert summary == read("summary.json")


def test_runs_of_the_same_second_have_folders_of_their_own():
    config = read_config("config.yaml", ["run.out=", "run.steps=1"])
    folders = [run(config)["folder"] for _ in range(3)]
    assert folders == [config.run.out, f"{config.run.out}-2", f"{config.run.out}-3"]
    assert [read_config(f"{folder}/config.yaml").run.out for folder in folders] == folders


@pytest.mark.parametrize(("keep", "steps"), [(3, (4, 5, 6, 7)), (1, (6, 7)), (0, (7,))])
def test_older_checkpoints_are_removed(keep, steps):
    run(read_config("config.yaml", ["run.checkpoint_every=1", f"run.keep_checkpoints={keep}"]))
    assert sorted(os.listdir("out/checkpoints")) == [f"step-00000{step}.npz" for step in steps]


@pytest.mark.parametrize("terminal", [False, True])
def test_progress(terminal):
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    run(read_config("config.yaml"), [Progress(stream)])
    said = stream.getvalue()
    assert said.startswith("toy: STEP | ALL, 7 steps, out\n")
    assert "7/7" in said
    assert f"upper {read('summary.json')['upper_loss']:.6g}" in said


def test_check(capsys):
    assert cli.main(["check", "config.yaml", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"]
    assert {row["derivative"] for row in found["derivatives"]} == {"first", "second"}


def test_a_problem_that_a_pack_names(declare, capsys):
    """`problem: NAME` finds a declared problem; its options are checked like an operation's."""
    from dataclasses import dataclass

    from boat_core import ProblemDeclaration, option
    from boat_core.testing import QuadraticCase

    @dataclass(frozen=True)
    class Options:
        size: int = option(4, ge=1, doc="of x")

    def build(options, seed):
        return QuadraticCase(seed, n=options.size).problem

    declaration = ProblemDeclaration("quadratic", "a toy", build, Options)
    declare(declaration)
    named = ["problem=quadratic", "run.steps=2"]
    assert run(read_config("config.yaml", [*named, "problem_options={size: 5}"]))["status"] == "finished"
    with np.load("out/variables.npz", allow_pickle=False) as stored:
        assert stored["upper"].shape == (5,)
    for wrong, message in (
        ("problem=quadratc", "no problem 'quadratc'; did you mean 'quadratic'?"),
        ("problem_options={size: 0}", "expected an integer >= 1 (got 0)"),
    ):
        overrides = [f"--set={item}" for item in (*named, "run.out=new", wrong)]
        assert cli.main(["run", "config.yaml", *overrides]) == 2
        assert message in capsys.readouterr().err
    assert cli.main(["problems", "list", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["problems"]
    assert (row["name"], row["summary"], row["options"][0]["name"]) == ("quadratic", "a toy", "size")
    assert cli.main(["problems", "show", "quadratic"]) == 0
    assert re.search("problem: quadratic.*size +an integer >= 1 +4", capsys.readouterr().out, re.DOTALL)
    assert cli.main(["problems", "show", "quadratc"]) == 2
    assert "did you mean 'quadratic'?" in capsys.readouterr().err


def test_every_setting_of_the_solver_section_reaches_the_solver():
    settings = {
        "start": "cold",
        "lower_state": "carry",
        "segment": 2,
        "strict": True,
        "on_nonfinite": "report",
        "lower_steps": 5,
    }
    solver = Job(read_config("config.yaml", [f"solver.{key}={value}" for key, value in settings.items()])).solver
    assert {key: getattr(solver.settings, key) for key in settings} == settings
    assert str(solver.composition) == "STEP | ALL"
    assert (solver.lower_optimizer.name, solver.upper_optimizer.name) == ("sgd", "adam")


def test_the_executor_of_a_configuration_solves_the_tasks(declare):
    class Counting(Sequential):
        def __init__(self, options):
            self.tasks = []

        def solve(self, steps):
            self.tasks += list(steps)
            return super().solve(steps)

    declare(ExecutorDeclaration("counting", "counts", Counting))
    job = Job(read_config("config.yaml", ["run.executor=counting", "problem_options={fault: tasks, at: 9}"]))
    job.solver.step(**job.batches(1))
    assert job.executor.tasks == ["1"]
    for executor, message in (
        ("countin", "run.executor: no executor 'countin'; did you mean 'counting'?"),
        ("ray", "executor 'ray' is in boat-ray, which is not installed; pip install boat-ray"),
        ("{name: counting, workers: 3}", "run.executor.workers: unknown option; it has none"),
        ("{workers: 3}", "run.executor: expected a name beside its options"),
    ):
        with pytest.raises(ConfigError, match=re.escape(message)):
            Job(read_config("config.yaml", [f"run.executor={executor}"]))


def test_a_job_or_a_path_can_be_run():
    summary = run(Job(read_config("config.yaml", ["run.steps=2"])))
    assert (summary["status"], summary["steps"]) == ("finished", 2)
    assert run("config.yaml", resume="out")["steps"] == 7


def test_batches_depend_on_seed_and_step_alone():
    def draw(seed, k):
        return tuple(Job(read_config("config.yaml", [f"run.seed={seed}"])).batches(k)["lower_batch"])

    drawn = {(seed, k): draw(seed, k) for seed in (0, 1) for k in (0, 1)}
    assert len(set(drawn.values())) == 4
    assert draw(1, 0) == drawn[1, 0]
