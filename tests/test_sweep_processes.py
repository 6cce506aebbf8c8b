"""Sweeps whose runs are processes: killed, interrupted and failing ones, and the commands of docs/sweeps.md."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pytest

import boat_core as boat
from boat_core import RunSpec, SweepPlaceDeclaration, cli, installed
from boat_core.config.source import read_file
from boat_core.plugins.discovery import installed_as
from boat_core.runs.folder import lock_folder
from boat_core.runtime import built_core
from boat_core.sweeps.plan import make_plan
from boat_core.sweeps.section import SweepConfig
from boat_core.testing import check_place

PAGE = (Path(__file__).parent.parent / "docs" / "sweeps.md").read_text("utf-8")
SWEEP = (sys.executable, "-m", "boat_core", "sweep")

#: Its steps take some time, so that a run can be caught at work. `ends` says what happens in the third step.
PROBLEM = """\
import os
import time

import boat_core as boat
import numpy as np


def problem(seed, ends="well", seconds=0.0, offset=0.0):
    def upper(x, y, batch):
        return ((y - 1) * (y - 1)).sum()

    def lower(x, y, batch):
        return ((y - x) * (y - x)).sum()

    def batches(k, rng):
        if k == 2 and ends == "error":
            raise ZeroDivisionError("of the problem")
        if k == 2 and ends == "killed":
            os.kill(os.getpid(), 9)
        time.sleep(seconds)
        return None, None

    def evaluate(x, y):
        gap = abs(float(y.numpy().mean()) - 1)
        return {"gap": gap, "accuracy": 1 - gap, "threads": int(os.environ["OMP_NUM_THREADS"])}

    return boat.Problem(upper, lower, np.full(3, seed, "float32"), np.zeros(3, "float32"), batches, evaluate)
"""
CONFIG = """\
problem: caught:problem
solver: {method: RHG, lower_steps: 2, lower_optimizer: {name: sgd, rate: 0.1}, upper_optimizer: {name: sgd, rate: 0.1}}
run: {steps: 20, checkpoint_every: 1, device: cpu}
"""


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "caught.py").write_text(PROBLEM, "utf-8")
    (tmp_path / "config.yaml").write_text(CONFIG, "utf-8")


def wait_until(is_true: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.02)


def steps(name: str) -> int:
    path = Path("out/runs", name, "metrics.jsonl")
    return path.read_text("utf-8").count("\n") if path.exists() else 0


def rows() -> dict[str, str]:
    path = Path("out/results.jsonl")
    lines = map(json.loads, path.read_text("utf-8").splitlines() if path.exists() else [])
    return {line["run"]: line["status"] for line in lines}


def variables(folder: Path | str) -> dict[str, bytes]:
    with np.load(Path(folder, "variables.npz")) as stored:
        return {name: stored[name].tobytes() for name in stored}


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen]]:
    """`start(*arguments)`: `boat sweep` in a process of its own, which Ctrl-C reaches as in a terminal."""
    processes = []

    def start(*arguments: str) -> subprocess.Popen:
        def as_in_a_terminal():
            signal.signal(signal.SIGINT, signal.default_int_handler)

        command = [*SWEEP, *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen(command, preexec_fn=as_in_a_terminal, **pipes))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def is_running(name: str) -> bool:
    """Whether a process holds the folder of a run."""
    folder = Path("out/runs", name)
    try:
        with lock_folder(folder) if folder.exists() else contextlib.nullcontext():
            return False
    except boat.RunError:
        return True


def test_a_sweep_that_was_killed_goes_on(start):
    """After kill -9 of the sweep, its runs stop by themselves. Resumed ones give the numbers of runs that never ended.

    One is stopped once more, by Ctrl-C, and then finishes.
    """
    first = start(
        "config.yaml", "--seeds", "3..4", "--jobs", "1", "--out", "out", "--set", "problem_options.seconds=0.1"
    )
    wait_until(lambda: steps("00") >= 3)
    first.send_signal(signal.SIGKILL)
    wait_until(lambda: not is_running("00"))
    assert rows() == {} and 3 <= steps("00") < 20
    assert json.loads(Path("out/runs/00/summary.json").read_text("utf-8"))["signal"] == "SIGTERM"
    before = steps("00")
    second = start("--resume", "out", "--json")
    wait_until(lambda: steps("00") > before)
    second.send_signal(signal.SIGINT)
    printed, said = second.communicate(timeout=120)
    assert second.returncode == 130 and "boat: interrupted" in said
    assert [run["status"] for run in json.loads(printed)["runs"]] == ["interrupted"]
    assert rows() == {"00": "interrupted"} and not is_running("00")
    results = boat.sweep(resume="out", jobs=2)
    assert rows() == {"00": "finished", "01": "finished"} and len(results.finished) == 2
    summary = json.loads(Path("out/runs/00/summary.json").read_text("utf-8"))
    assert (summary["steps"], summary["resumed_from"] > before) == (20, True)
    boat.run(boat.read_config("config.yaml", ["run.seed=3", "run.out=whole"]))
    assert variables("out/runs/00") == variables("whole")


@pytest.mark.nightly
def test_a_sweep_that_is_killed_again_and_again_loses_nothing(start):
    """Whenever kill -9 comes, the results are those of a sweep that was left alone."""
    flags = ("--set", "problem_options.seconds=0.1", "--seeds", "3..5", "--jobs", "2", "--out", "out")
    process, lives = start("config.yaml", *flags), np.random.default_rng(0).uniform(1.5, 5.0, 40)
    for life in lives:
        try:
            code = process.wait(float(life))
            assert code == 0
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            process = start("--resume", "out") if Path("out/sweep.yaml").exists() else start("config.yaml", *flags)
    assert rows() == {"00": "finished", "01": "finished", "02": "finished"}
    whole = boat.sweep("config.yaml", seeds="3..5", jobs=2, out="whole")
    for run in whole.runs:
        assert variables(run.folder) == variables(Path("out/runs", run.name))
        metrics = [
            [{**json.loads(line), "seconds": 0} for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
            for folder in (run.folder, Path("out/runs", run.name))
        ]
        assert metrics[0] == metrics[1] and len(metrics[0]) == 20


@pytest.mark.nightly
def test_kernels_are_compiled_once(monkeypatch):
    """With a fresh folder of kernels the first run compiles them all, and those that start later compile none."""
    name = f"sweep-{os.getpid()}"
    monkeypatch.setenv("BOAT_KERNELS", name)
    grid = {"solver.lower_optimizer.rate": [0.1, 0.2], "run.steps": [5, 6]}
    results = boat.sweep("config.yaml", grid=grid, seeds=[0, 1], jobs=2, out="out")
    summaries = [json.loads((run.folder / "summary.json").read_text("utf-8")) for run in results.runs]
    compiled = [summary["kernels_compiled"] for summary in summaries]
    assert compiled[0] > 0 and set(compiled[1:]) == {0}
    for folder in built_core().glob(f"boat-*/own-{name}"):
        shutil.rmtree(folder)


def test_runs_that_fail_are_rows_and_cores_are_divided(monkeypatch, capsys):
    """A run that raises and one that is killed do not hinder the others. Each has its share of the cores."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    settings = {"problem_options.ends": ["well", "error", "killed"]}
    cores = len(os.sched_getaffinity(0))
    results = boat.sweep("config.yaml", overrides=["run.steps=4"], grid=settings, jobs=1, out="out", metric="gap")
    assert [run.status for run in results.runs] == ["finished", "failed", "failed"]
    assert results.runs[0].metrics["threads"] == cores
    assert results.runs[1].error == "ZeroDivisionError: of the problem"
    assert results.runs[2].error.startswith("the process was killed by SIGKILL, as when memory runs out; see ")
    assert "ZeroDivisionError" in Path("out/runs/01.log").read_text("utf-8")
    lines = capsys.readouterr().err.splitlines()
    assert re.match(r"1/3  00  ends=well, seed=0  finished after [\d.]+ s, gap 0\.\d+", lines[1])
    assert lines[3] == "    ZeroDivisionError: of the problem"
    assert results.rows[0].settings == {"problem_options.ends": "well"} and results.rows[1].finished == 0


@pytest.fixture
def processes():
    declaration = installed().place("processes").declaration
    return declaration.build(declaration.options(jobs=2, threads=1, device="cpu"))


def test_the_place_is_one(processes):
    text = CONFIG.replace("steps: 20", "steps: 2") + f"problem_path: {Path.cwd()}\n"
    check_place(processes, text, Path("out/runs"))
    assert not is_running("left")


def test_a_run_stops_within_its_step_if_it_has_to_hurry(processes):
    """A second `stop` does not wait for the step, and `close` leaves no process."""
    place = processes
    text = CONFIG + f"problem_path: {Path.cwd()}\nproblem_options: {{seconds: 60}}\n"
    specs = [RunSpec(name, text, (), f"{Path.cwd()}/out/runs/{name}") for name in ("00", "01")]
    one, other = map(place.submit, specs)
    wait_until(lambda: is_running("00") and is_running("01"))
    time.sleep(0.5)  # both are in their first step, which takes a minute
    place.stop(one)
    assert place.wait([one, other], 0.3) == {}
    place.stop(one)
    (outcome,) = place.wait([one, other], 30).values()
    assert (outcome.status, outcome.summary["steps"]) == ("interrupted", 0)
    place.close()
    place.close()
    assert not is_running("01")


METHODS = {
    "--methods RGH,HOAG": "--methods: no method 'RGH'; did you mean 'RHG'?",
    "--methods RHG,CG": "--methods: no method 'CG'",
    "--methods RHG,BOME": "--set solver.options: no method of the sweep has the operation CG",
    "--methods RHG,HOAG --grid solver.options.GDA.alpha=0.1": "--grid solver.options.GDA.alpha: solver.options.GDA: ",
}


@pytest.mark.parametrize("flags", METHODS)
def test_methods_that_do_not_fit(flags, capsys):
    options = "solver.options={CG: {damping: 0.1}}"
    assert cli.main(["sweep", "config.yaml", *flags.split(), "--set", options]) == 2
    assert METHODS[flags] in capsys.readouterr().err


def test_methods_keep_the_options_of_their_operations():
    methods = "[RHG, HOAG, BOME, {map: [GDA], approximate: CG, options: {GDA: {alpha: 0.2}, CG: {damping: 0.5}}}]"
    overrides = ["solver.options={CG: {damping: 0.1, max_iterations: 7}}", f"sweep.methods={methods}"]
    values, source = read_file(Path("config.yaml"), overrides)
    plan = make_plan(values, source, "config", installed())
    Path("sweep.yaml").write_text(plan.text, "utf-8")
    jobs = [boat.Job(boat.read_config("sweep.yaml", run.overrides)) for run in plan.runs]
    assert [str(job.composition) for job in jobs] == ["NGD | RAD", "NGD | CG", "VFO", "GDA + NGD | CG"]
    own = [job.config.solver.options for job in jobs]
    both = {"GDA": {"alpha": 0.2}, "CG": {"damping": 0.5, "max_iterations": 7}}
    assert own == [None, {"CG": {"damping": 0.1, "max_iterations": 7}}, None, both]
    assert [run.settings["method"] for run in plan.runs[:3]] == ["RHG", "HOAG", "BOME"]
    assert len({run.kind for run in plan.runs}) == 4


# The page


def commands() -> list[str]:
    """The commands of the page, in its order."""
    return [line.partition("#")[0].strip() for line in re.findall(r"^    (boat sweep .*)$", PAGE, re.MULTILINE)]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@dataclass
class Here:
    """A place that carries runs out in this process: the commands of the page are many."""

    jobs: int = 1
    shares_kernels: bool = True

    def submit(self, spec):
        return spec

    def wait(self, handles, timeout):
        return {spec: spec.carry_out() for spec in handles}

    def stop(self, handle):
        pass

    def close(self):
        pass


@dataclass(frozen=True)
class Jobs:
    jobs: int | None = None


@pytest.fixture
def here() -> Iterator[None]:
    declaration = SweepPlaceDeclaration("here", "this process", lambda options: Here(), Jobs)
    with installed_as(installed().adding(declaration, distribution="tests", version="1")):
        yield


def test_the_page(here, capsys):
    """Its commands and its script work, and its section is one that BOAT reads."""
    for command in commands():
        assert cli.main([*shlex.split(command)[1:], "--on", "here"]) == 0, command
    printed = capsys.readouterr().out
    assert "accuracy (max)" in printed and "HOAG" in printed and "4 of 4 runs finished" not in printed
    (script,) = blocks("python")
    exec(script.replace("best=", 'on="here", out="script", best=', 1), {"boat": boat})
    assert "solver.lower_steps" in capsys.readouterr().out
    (section,) = blocks("yaml")
    Path("config.yaml").write_text(CONFIG + section, "utf-8")
    values, source = read_file(Path("config.yaml"))
    plan = make_plan(values, source, "config", installed())
    assert len(plan.runs) == 3 * 4 * 2 * 2 * 2 * 5
    assert boat.Job(boat.read_config("config.yaml")).composition  # other verbs ignore the section
    assert [field.name for field in fields(SweepConfig) if f"`{field.name}`" not in PAGE] == ["out"]
