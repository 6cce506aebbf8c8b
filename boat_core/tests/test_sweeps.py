"""Sweeps: what varies, what is refused and where, in which order runs start, and what their results come to.

The runs go to places of the tests: `scripted` says how each run ends and computes nothing, `here` carries runs out in
this process. tests/test_sweep_processes.py has the runs that are processes.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest

import boat_core as boat
from boat_core import RunOutcome, RunSpec, SweepPlaceDeclaration, cli
from boat_core.declare.options import option
from boat_core.sweeps.plan import PlannedRun
from boat_core.sweeps.progress import Position
from boat_core.sweeps.schedule import Running
from boat_core.sweeps.view import LiveView, Total

# The objectives of test_run_endings.py, whose kernels serve here too.
PROBLEM = """\
import numpy as np
import boat_core as boat

def make(seed, fails=False):
    def upper(x, y, batch):
        return ((y["w"][0] - 1) ** 2).sum() + (x * x).sum()

    def lower(x, y, batch):
        return ((y["w"][0] - x - batch) ** 2).sum()

    def batches(k, rng):
        if fails and k == 1:
            raise ZeroDivisionError("of the problem")
        return rng.standard_normal(2).astype("float32"), None

    x, w = np.full(2, float(seed), "float32"), np.zeros(2, "float32")
    evaluate = lambda x, y: {"size": np.abs(x.numpy()).max()}
    return boat.Problem(upper, lower, x, {"w": [w]}, batches, evaluate, name="toy")
"""
CONFIG = """\
problem: varied:make
solver:
  map: STEP
  lower_steps: 2
  lower_optimizer: {name: sgd, rate: 0.1, momentum: 0.5}
  upper_optimizer: {name: adam, rate: 0.1}
run: {steps: 3, device: cpu}
sweep:
"""


class Scripted:
    """A place that ends each run as `endings` say, by the name of the run, and else as finished.

    Two runs go on at once. The one that was submitted first ends first.
    """

    jobs, shares_kernels = 2, False

    def __init__(self, endings=None, metrics=lambda spec: {}):
        self.specs, self.log, self.endings, self.metrics = [], [], endings or {}, metrics
        self.closed = False

    def submit(self, spec):
        self.specs.append(spec)
        self.log.append(f"+{spec.name}")
        return spec.name

    def wait(self, handles, timeout):
        name = next(iter(handles))
        ending = self.endings.get(name, "finished")
        if callable(ending):
            ending = ending()
        if ending is None:
            return {}
        self.log.append(f"-{name}")
        spec = next(spec for spec in reversed(self.specs) if spec.name == name)
        if ending == "finished":
            return {name: RunOutcome("finished", {"upper_loss": 1.0, "evaluation": self.metrics(spec)})}
        return {name: RunOutcome(*ending)}

    def stop(self, handle):
        self.endings[handle] = ("interrupted",)
        self.log.append(f"stop {handle}")

    def close(self):
        self.closed = True


class Here(Scripted):
    """Carries runs out in this process, one after the other."""

    jobs = 1

    def wait(self, handles, timeout):
        return {name: self.specs[-1].carry_out() for name in handles}


def section(text):
    """Write a configuration with this section `sweep`."""
    Path("config.yaml").write_text(CONFIG + "".join(f"  {line}\n" for line in text.splitlines()), "utf-8")
    return "config.yaml"


@pytest.fixture(autouse=True)
def folder(monkeypatch, only_toys_installed, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "varied.py").write_text(PROBLEM, "utf-8")


@pytest.fixture
def place(declare):
    """`place(…)` makes a scripted place, or the place given, the one that sweeps name `test`."""

    places = []
    declare(SweepPlaceDeclaration("test", "a place of the tests", lambda options: places[-1]))

    def install(*arguments, kind=Scripted, **settings):
        places.append(kind(*arguments, **settings))
        return places[-1]

    return install


def swept(text, **settings):
    return boat.sweep(section(text), on="test", out="out", **settings)


# What varies


SPACES = {
    "grid: {solver.lower_steps: [2, 3], run.steps: [5, 6]}": [(2, 5), (2, 6), (3, 5), (3, 6)],
    "zip: {solver.lower_steps: [2, 3], run.steps: [5, 6]}": [(2, 5), (3, 6)],
    "list: [{solver.lower_steps: 2, run.steps: 5}, {run.steps: 7}]": [(2, 5), (None, 7)],
    "list: [{run.steps: 5}, {run.steps: 6}]\ngrid: {solver.lower_steps: [2, 3]}": [(2, 5), (3, 5), (2, 6), (3, 6)],
}


@pytest.mark.parametrize("text", SPACES)
def test_settings(text, place):
    one = place()
    results = swept(text + "\nseeds: 4..5")
    keys = "solver.lower_steps", "run.steps"
    assert [tuple(row.settings.get(key) for key in keys) for row in results.rows] == SPACES[text]
    # The seeds of a setting follow one another.
    assert [run.seed for run in results.runs] == [4, 5] * len(SPACES[text])
    assert [run.settings for run in results.runs[::2]] == [row.settings for row in results.rows]
    assert [spec.overrides[-1] for spec in one.specs] == ["run.seed=4", "run.seed=5"] * len(SPACES[text])


def test_whatever_set_reaches_can_vary(place):
    """Values of all kinds arrive as they are: names, null, numbers such as 1e-3, lists and mappings."""
    one = place()
    Path("config.yaml").write_text(CONFIG.replace("sweep:", ""), "utf-8")
    flags = ["solver.map=STEP,[SUM, STEP]", "solver.lower_optimizer={name: sgd, rate: 1e-3},{name: adam, rate: 0.5}"]
    code = cli.main(["sweep", "config.yaml", "--on", "test", "--out", "out", *(f"--grid={flag}" for flag in flags)])
    assert (code, len(one.specs)) == (0, 4)
    solvers = []
    for spec in one.specs:
        Path("run.yaml").write_text(spec.config, "utf-8")
        config = boat.read_config("run.yaml", spec.overrides)
        solvers.append((config.solver.map, config.solver.lower_optimizer))
    optimizers = {"name": "sgd", "rate": 0.001}, {"name": "adam", "rate": 0.5}
    assert solvers == [(chain, optimizer) for chain in ("STEP", ("SUM", "STEP")) for optimizer in optimizers]
    results = boat.sweep("config.yaml", on="test", out="two", grid={"run.observers": [None, ["progress"], "progress"]})
    assert [row.settings["run.observers"] for row in results.rows] == [None, ["progress"], "progress"]


def test_random_settings_are_drawn_in_range_with_a_seed(place):
    place()
    keys = {
        "run.steps": {"integers": [3, 5]},
        "solver.lower_optimizer.rate": {"log_uniform": [1e-4, 1]},
        "solver.upper_optimizer.rate": {"uniform": [0.25, 0.5]},
        "solver.start": {"choice": ["warm", "cold"]},
    }
    draws = []
    for number, (count, seed) in enumerate([(200, 0), (20, 0), (20, 1)]):
        random = {"count": count, "seed": seed, "keys": keys}
        results = boat.sweep(section(""), on="test", out=f"{number}", section={"random": random})
        draws.append([tuple(run.settings.values()) for run in results.runs])
    many, few, others = draws
    assert many[:20] == few != others
    steps, lower, upper, start = map(np.array, zip(*many))
    assert set(steps) == {3, 4, 5} and set(start) == {"warm", "cold"}
    assert 1e-4 <= lower.min() < 1e-3 and 0.1 < lower.max() <= 1
    # The mean of 200 draws lies within four standard errors of that of the distribution.
    assert abs(np.log10(lower).mean() + 2) < 4 * 4 / math.sqrt(12 * 200)
    assert upper.min() >= 0.25 and upper.max() <= 0.5 and abs(upper.mean() - 0.375) < 4 * 0.25 / math.sqrt(12 * 200)


def test_a_configuration_that_was_read_and_its_files_in_other_folders(place):
    """A run may be carried out elsewhere, so what its configuration names is written out."""
    one = place()
    config = boat.read_config(section("seeds: 2..3"), ["run.steps=9"])
    results = boat.sweep(config, on="test", out="out", grid={"problem_path": [".", "elsewhere"]})
    assert [run.seed for run in results.runs] == [2, 3, 2, 3]
    Path("far").mkdir()
    for spec, folder in zip(one.specs, (".", ".", "elsewhere", "elsewhere")):
        Path("far/run.yaml").write_text(spec.config, "utf-8")
        moved = boat.read_config("far/run.yaml", spec.overrides)
        assert (moved.module_folder, moved.run.steps) == (Path(folder).resolve(), 9)
        assert Path(spec.folder).is_absolute() and not spec.resume
    with pytest.raises(boat.RunError, match="give them to read_config"):
        boat.sweep(config, overrides=["run.steps=1"])


# What is refused, and where it stands

FLAGS = {
    "--grid solver.lower_stepz=1,2": "--grid solver.lower_stepz: unknown key; did you mean 'lower_steps'?",
    "--grid sover.lower_steps=1,2": "--grid sover.lower_steps: sover: unknown key; did you mean 'solver'?",
    "--grid solver.lower_steps=3,0": "--grid solver.lower_steps: expected an integer >= 1 (got 0)",
    "--grid solver.map=STEP,STEPP": "--grid solver.map: no operation 'STEPP'; did you mean 'STEP'?",
    "--grid solver.lower_steps=": "--grid solver.lower_steps: is empty, so there is nothing to run",
    "--grid solver.lower_steps": "expected KEY=VALUE,VALUE such as --grid solver.lower_steps=5,10",
    "--grid solver.lower_steps=2,2": "--grid solver.lower_steps: 2 is listed twice",
    "--grid run.steps=1 --grid run.steps=2": "--grid run.steps: is given twice",
    "--grid run.seed=1,2": "run.seed: run.seed cannot be varied here; seeds have a key of their own, sweep.seeds",
    "--grid run.out=a,b": "--grid run.out: run.out cannot be varied here; the sweep names the folders of its runs",
    "--grid solver={} --grid solver.map=STEP": "--grid solver.map: it varies already, by sweep.grid.solver",
    "--seeds 4..0": "--seeds: expected FIRST..LAST, upwards (got '4..0')",
    "--seeds 1,-1": "--seeds: expected integers >= 0, such as [0, 1, 2] or 0..2 (got -1)",
    "--seeds 1,1": "--seeds: 1 is listed twice",
    "--seeds 1 --jobs 0": "--jobs: expected an integer or nothing >= 1 (got 0)",
    "--seeds 1 --best most": "--best: expected one of 'min', 'max' (got 'most')",
    "--seeds 1 --on procesess": "--on: no place 'procesess'; did you mean 'processes'?",
    "--seeds 1 --on {name:processes}": "--on: expected a name beside its options",
    "--seeds 1 --out taken": "taken exists; choose another folder with --out FOLDER, or go on with boat sweep --resume",
    "": "config.yaml:8: sweep: nothing varies; vary a key, such as --grid solver.lower_steps=5,10, or --seeds 0..4",
}


@pytest.mark.parametrize("flags", FLAGS)
def test_flags_that_do_not_fit(flags, capsys):
    section("")
    Path("taken").mkdir()
    assert cli.main(["sweep", "config.yaml", *flags.split()]) == 2
    error = capsys.readouterr().err
    assert FLAGS[flags] in error and error.startswith("boat: error: ")
    assert sorted(os.listdir()) == ["config.yaml", "taken", "varied.py"]  # nothing was started


SECTIONS = {
    "grid: {solver.lower_steps: 3}": "config.yaml:9: sweep.grid.solver.lower_steps: expected a list of values (got 3)",
    "grid: {}": "config.yaml:9: sweep.grid: is empty, so there is nothing to run",
    "seeds: 0..1\n\ngrid: {solver.lower_steps: [2, -2]}": (
        "config.yaml:11: solver.lower_steps: expected an integer >= 1 (got -2)"
    ),
    "seeds: []": "config.yaml:9: sweep.seeds: is empty",
    "sedes: 0..1": "config.yaml:9: sweep.sedes: unknown option; did you mean 'seeds'?",
    "zip: {run.steps: [1, 2],\n  solver.lower_steps: [1]}": (
        "config.yaml:10: sweep.zip.solver.lower_steps: expected 2 values, as many as run.steps has (got 1)"
    ),
    "list: [{run.steps: 1},\n{run.stepz: 2}]": "config.yaml:10: run.stepz: unknown key; did you mean 'steps'?",
    "list: [3]": "config.yaml:9: sweep.list[0]: expected a mapping from keys to values",
    "grid: {run.steps: [1, 2]}\nlist: [{run.steps: 3}]": (
        "config.yaml:9: sweep.grid.run.steps: it varies already, by sweep.list[0].run.steps"
    ),
    "random: {count: 2, keys: {run.steps: {integer: [1, 2]}}}": "unknown distribution; did you mean 'integers'?",
    "random: {count: 2, keys: {run.steps: {integers: [1, 2.5]}}}": "expected [FIRST, LAST], both included",
    "random: {count: 2, keys: {run.steps: {log_uniform: [0, 1]}}}": "expected [LOW, HIGH] above 0 (got [0, 1])",
    "random: {count: 0, keys: {}}": "config.yaml:9: sweep.random.count: expected an integer >= 1 (got 0)",
    "methods: [1]": "config.yaml:9: sweep.methods[0]: expected the name of a method",
    "methods: [{map: STEP}, {map: STEPP}]": "config.yaml:9: sweep.methods[1].map: no operation 'STEPP'",
    "methods: [{map: STEP}, {map: STEP}]": "config.yaml:9: sweep.methods[1]: map: STEP is listed twice",
    "methods: [{first_order: BOTH, lower_stepz: 1}]": "config.yaml:9: solver.lower_stepz: unknown key",
    "on: test\njobs: 2\nseeds: 0..1": "config.yaml:10: sweep.jobs: the place test has no jobs to set",
    "on: {name: processes, threadz: 1}\nseeds: 0..1": "config.yaml:9: sweep.on.threadz: unknown option",
    # Two values that fit by themselves, but not together: the error says which run it is.
    "grid: {solver.map: [STEP, [HALF]], solver.lower_steps: [2]}": "no operation 'HALF'",
}


@pytest.mark.parametrize("text", SECTIONS)
def test_sections_that_do_not_fit(text, place):
    one = place()
    with pytest.raises(boat.ConfigError) as caught:
        boat.sweep(section(text))
    assert SECTIONS[text] in str(caught.value).replace(f"{Path.cwd()}/", "") or "HALF" in str(caught.value)
    assert one.specs == [] and sorted(os.listdir()) == ["config.yaml", "varied.py"]


# Results


def test_mean_and_standard_error_over_the_seeds_best_first(place):
    values = {2: [1.0, 2.0, 6.0], 3: [5.0, 5.0, 5.5], 4: [0.0, math.nan, 1.0]}

    def metrics(spec):
        steps = int(spec.overrides[0].partition("=")[2])
        return {"score": values[steps][int(spec.name) % 3], "upper_loss": 7.0}

    place(metrics=metrics)
    text = "grid: {solver.lower_steps: [2, 3, 4]}\nseeds: 0..2"
    results = swept(text, metric="score", best="max")
    rows = {row.settings["solver.lower_steps"]: row for row in results.rows}
    assert list(rows) == [3, 2, 4]  # NaN is last, whatever is best
    for steps in (2, 3):
        expected = np.std(values[steps], ddof=1) / math.sqrt(3)
        np.testing.assert_allclose(rows[steps].mean["score"], np.mean(values[steps]), rtol=1e-15)
        np.testing.assert_allclose(rows[steps].standard_error["score"], expected, rtol=1e-14)
    assert math.isnan(rows[4].mean["score"]) and math.isnan(rows[4].standard_error["score"])
    # A number of `evaluate` comes before one of the summary that has the same name.
    assert rows[2].mean["upper_loss"] == 7.0 and rows[2].standard_error["upper_loss"] == 0.0
    lines = Path("out/table.md").read_text("utf-8").splitlines()
    assert lines[0].startswith("| solver.lower_steps | runs | score (max) |")
    assert lines[2].startswith("| 3 | 3 | 5.167 ± 0.17 | 7 ± 0 |")
    assert boat.sweep(resume="out", on="test", best="min").rows[0].settings["solver.lower_steps"] == 2


def test_a_single_run_has_no_standard_error(place):
    place()
    (row,) = swept("seeds: [7]").rows
    assert row.standard_error["upper_loss"] is None
    assert Path("out/table.md").read_text("utf-8").splitlines()[2] == "| 1 | 1 |"


def test_a_run_that_fails_is_a_row_and_the_others_go_on(place, capsys):
    place({"01": ("failed", None, "it broke")})
    section("seeds: 0..3")
    assert cli.main(["sweep", "config.yaml", "--on", "test", "--out", "out", "--json"]) == 1
    results = json.loads(capsys.readouterr().out)
    assert [run["status"] for run in results["runs"]] == ["finished", "failed", "finished", "finished"]
    assert (results["runs"][1]["error"], results["runs"][1]["metrics"]) == ("it broke", {})
    assert (results["rows"][0]["runs"], results["rows"][0]["finished"], results["planned"]) == (4, 3, 4)
    assert "| 3 of 4 | 1 ± 0 |" in Path("out/table.md").read_text("utf-8")


def test_an_unknown_metric_is_told_at_once_and_costs_no_run(place, capsys):
    place(metrics=lambda spec: {"accuracy": 0.5})
    section("seeds: 0..3")
    flags = ["--on", "test", "--out", "out", "--metric", "acuracy"]
    assert cli.main(["sweep", "config.yaml", *flags]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[1].startswith("there is no metric 'acuracy' to order the results by: accuracy, upper_loss")
    assert "no run has the metric 'acuracy'; did you mean 'accuracy'? the runs have accuracy" in lines[-1]
    one = place()
    assert cli.main(["sweep", "--resume", "out", "--on", "test"]) == 2  # it says so before anything starts
    assert cli.main(["sweep", "--resume", "out", "--on", "test", "--metric", "accuracy"]) == 0
    assert one.specs == [] and "accuracy (min)" in capsys.readouterr().out


# The order of the runs, and how a sweep ends


def test_one_run_of_each_kind_goes_ahead_until_its_kernels_are_compiled(place, monkeypatch):
    """Runs of a kind wait until the first of them has done two steps. Others of compiled kinds run meanwhile.

    A second sweep does not wait, unless the file of the problem has changed.
    """
    monkeypatch.setenv("JITTOR_HOME", str(Path.cwd()))

    class Compiling(Scripted):
        jobs, shares_kernels = 3, True

        def wait(self, handles, timeout):
            for name in list(handles):  # each look finds every run one step further, and done after three
                spec = next(spec for spec in self.specs if spec.name == name)
                path = Path(spec.folder, "metrics.jsonl")
                path.parent.mkdir(parents=True, exist_ok=True)
                lines = path.read_text().splitlines() if path.exists() else []
                lines.append(json.dumps({"iteration": len(lines), "upper_loss": 1, "lower_loss": 1}))
                path.write_text("".join(f"{line}\n" for line in lines))
                self.log.append(f"{name}:{len(lines)}")
                if len(lines) == 3:
                    return super().wait([name], timeout)
            return {}

    one = place(kind=Compiling)
    text = "list: [{solver.start: warm}, {solver.start: cold}]\nseeds: 0..2"
    assert len(swept(text).finished) == 6
    events = [event for event in one.log if event[0] in "+-" or event.endswith(":2")]
    # 00 and 03 are the first of their kinds. Nothing starts before 00 has done two steps.
    assert events[:5] == ["+00", "00:2", "+03", "+01", "-00"]
    assert events.index("03:2") < events.index("+04") < events.index("+05")
    assert one.closed
    for changed in (False, True):
        again = place(kind=Compiling)
        if changed:
            os.utime("varied.py", ns=(0, 1))
        boat.sweep("config.yaml", on="test", out=f"again-{changed}")
        assert again.log[: 2 if changed else 3] == (["+00", "00:1"] if changed else ["+00", "+01", "+02"])


def test_numbers_do_not_make_another_kind(place, monkeypatch):
    """More lower steps, another rate or another seed compile nothing new; another optimizer does."""
    monkeypatch.setenv("JITTOR_HOME", str(Path.cwd()))
    one = place(kind=type("Shared", (Scripted,), {"jobs": 9, "shares_kernels": True}))
    swept("grid: {solver.lower_steps: [2, 3], solver.upper_optimizer.name: [sgd, adam]}\nseeds: 0..1")
    # Runs 00 and 02 lead. When a leader has ended, all others of its kind start at once.
    assert one.log[:2] == ["+00", "-00"]
    first = one.log[2 : one.log.index("-02")]
    assert [event for event in first if event.startswith("+")] == ["+02", "+01", "+04", "+05"]


@pytest.mark.parametrize(
    ("signals", "error", "stops"),
    [
        (["SIGTERM"], SystemExit, 1),  # after their steps
        (["SIGINT"], KeyboardInterrupt, 2),  # within them
        (["SIGTERM", "SIGTERM"], SystemExit, 3),
        (["SIGINT", "SIGINT"], KeyboardInterrupt, 2),  # the second one kills
    ],
)
def test_a_signal_stops_all_runs_and_the_sweep_goes_on_later(signals, error, stops, place, default_handlers):
    waiting = list(signals)

    def send():
        if waiting:
            signal.raise_signal(getattr(signal, waiting.pop(0)))
        return None

    class Stubborn(Scripted):
        def stop(self, handle):
            self.log.append(f"stop {handle}")
            if not waiting:
                self.endings[handle] = ("interrupted",)

    one = place({"01": send}, kind=Stubborn)
    with pytest.raises(error):
        swept("seeds: 0..3")
    stopped = [event for event in one.log if event == "stop 01"]
    assert len(stopped) == stops and one.closed
    rows = [json.loads(line) for line in Path("out/results.jsonl").read_text("utf-8").splitlines()]
    assert {row["run"]: row["status"] for row in rows} == {"00": "finished", "01": "interrupted", "02": "interrupted"}
    again = place()
    results = boat.sweep(resume="out", on="test")
    assert [spec.name for spec in again.specs] == ["01", "02", "03"] and len(results.finished) == 4
    assert [run.status for run in results.runs] == ["finished"] * 4


@pytest.fixture
def default_handlers():
    """The handlers of a terminal, also if the tests run in the background with interrupts ignored."""
    defaults = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in defaults.items()}
    yield
    assert {number: signal.signal(number, handler) for number, handler in before.items()} == defaults


def test_an_error_of_the_place_stops_what_runs(place):
    class Broken(Scripted):
        def submit(self, spec):
            if spec.name == "01":
                raise boat.BoatError("the place is gone")
            return super().submit(spec)

    one = place({"00": lambda: None}, kind=Broken)
    with pytest.raises(boat.BoatError, match="the place is gone"):
        swept("seeds: 0..3")
    assert one.log == ["+00", "stop 00", "-00"] and one.closed
    assert json.loads(Path("out/results.jsonl").read_text("utf-8"))["status"] == "interrupted"


def test_a_line_that_was_cut_off_is_no_result(place):
    place()
    swept("seeds: 0..2")
    path = Path("out/results.jsonl")
    text = path.read_text("utf-8")
    path.write_text(text[: text.rindex('"metrics"')], "utf-8")
    one = place()
    assert len(boat.sweep(resume="out", on="test").finished) == 3
    assert [spec.name for spec in one.specs] == ["02"]
    assert [json.loads(line)["run"] for line in path.read_text("utf-8").splitlines()] == ["00", "01", "02"]


def test_what_a_sweep_goes_on_with(place):
    place()
    swept("seeds: 0..1")
    for settings in ({"seeds": [3]}, {"grid": {"run.steps": [1]}}, {"out": "x"}, {"section": {"zip": {}}}):
        with pytest.raises(boat.RunError, match="what may change: metric, best, jobs, on"):
            boat.sweep(resume="out", **settings)
    with pytest.raises(boat.RunError, match="leave out config and overrides"):
        boat.sweep("config.yaml", resume="out")
    with pytest.raises(boat.RunError, match=r"expected the folder of a sweep \(there is no sweep.yaml\)"):
        boat.sweep(resume=".")
    with pytest.raises(boat.RunError, match="out exists"):
        swept("seeds: 0..1")


# Runs


def test_runs_are_those_of_boat_run(place):
    """A run of a sweep leaves what `boat run` leaves; a failed one is resumed where it failed."""
    place(kind=Here)
    results = swept("grid: {problem_options.fails: [false, true]}\nseeds: [3]", metric="size")
    finished, failed = results.runs
    assert (failed.status, failed.error) == ("failed", "ZeroDivisionError: of the problem")
    summary = boat.run(boat.read_config("config.yaml", ["run.seed=3", "run.out=alone"]))
    assert finished.metrics["size"] == summary["evaluation"]["size"]
    assert sorted(os.listdir(finished.folder)) == sorted(os.listdir("alone"))
    with np.load("alone/variables.npz") as one, np.load(finished.folder / "variables.npz") as other:
        assert all(one[name].tobytes() == other[name].tobytes() for name in one)
    assert cli.main(["run", str(finished.folder / "config.yaml"), "--set", "run.out=again"]) == 0
    again = place(kind=Here)
    results = boat.sweep(resume="out", on="test")
    assert [(spec.name, spec.resume) for spec in again.specs] == [("01", True)]
    summary = json.loads((failed.folder / "summary.json").read_text("utf-8"))
    assert (summary["status"], summary["resumed_from"]) == ("failed", 1) and len(results.failed) == 1
    # A run that has finished while nobody was there to record it is recorded.
    Path("out/results.jsonl").unlink()
    again = place(kind=Here)
    assert [run.name for run in boat.sweep(resume="out", on="test").finished] == ["00"]
    assert [spec.name for spec in again.specs] == ["01"]


def test_a_run_without_a_checkpoint_begins_again(place):
    one = place(kind=Here)
    swept("seeds: [3]")
    Path("out/results.jsonl").unlink()
    (folder,) = Path("out/runs").glob("0?")
    (folder / "summary.json").unlink()
    for path in (folder / "checkpoints").iterdir():
        path.unlink()
    assert len(boat.sweep(resume="out", on="test").finished) == 1
    assert [spec.resume for spec in one.specs] == [False, False]


def test_a_spec_is_plain_values():
    spec = RunSpec("00", "problem: é\n", ("run.steps=1",), "/x")
    assert RunSpec.of(json.loads(json.dumps(spec.as_dict()))) == spec


def test_places_get_jobs_and_device(declare):
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Options:
        jobs: int | None = option(None, ge=1, doc="runs at once")
        device: str = option("auto", doc="the device of the runs")

    asked = []

    def build(options):
        asked.append(options)
        raise ModuleNotFoundError("No module named 'planet'", name="planet")

    declare(SweepPlaceDeclaration("planet", "far away", build, Options, requires="boat-planet"))
    with pytest.raises(boat.ConfigError, match="place planet needs planet .*; pip install 'boat-planet'"):
        boat.sweep(section("seeds: 0..1"), on="planet", jobs=7)
    assert (asked[0].jobs, asked[0].device) == (7, "cpu") and not Path("sweeps").exists()


def test_the_time_that_is_left():
    """All steps are taken to last as long as those so far, the ones of a resumed run that were done before aside."""
    total = Total({"00": 10, "01": 10, "02": 10, "03": 10}, ["00"])
    assert total.text([], 0.0) == "1 of 4 runs"
    running = Running(PlannedRun("01", {}, 0, (), 10, "cpu", ""), Path("01"), 0.0, 4, Position(6))
    # 2 steps took 2 s, and 4 + 10 + 10 are left.
    assert total.text([running], 2.0) == "1 of 4 runs, 0:00:24 left"
    running.position = Position(7)
    total.end("failed", running)
    # 3 steps took 3 s, and those of the two runs that have not begun are left.
    assert total.text([], 3.0) == "2 of 4 runs, 1 failed, 0:00:20 left"


def test_what_a_terminal_shows(place):
    """A line for each run at work while it runs, a line for each that has ended, and the total."""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    class Slow(Scripted):
        looks = 0

        def wait(self, handles, timeout):
            self.looks += 1
            return {} if self.looks < 3 else super().wait(handles, timeout)

    place(kind=Slow)
    stream = Terminal()
    swept("seeds: 0..2", view=LiveView(stream))
    shown = stream.getvalue()
    assert "3 runs, 2 at once, " in shown and re.search(r"00 +seed=0 +0/3 +starting", shown)
    assert "0 of 3 runs" in shown and re.search(r"3/3  02  seed=2  finished after [\d.]+ s, upper_loss 1\r?\n", shown)
