"""However a run ends, its folder is complete, and the resumed run gives the same numbers as one that was not ended.

The signals are real ones, sent by the problem to this very process.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from boat_core import RunError, cli, hookimpl
from boat_core.config.schema import read_config
from boat_core.runs import checkpoint
from boat_core.runs.artifacts import RunWarning
from boat_core.runs.folder import lock_folder
from boat_core.runs.run import run
from boat_core.runs.signals import StopSignals

PROBLEM = '''\
"""min over x of |y - 1|^2 + |x|^2 with y near x + noise."""
import os
import signal
import numpy as np
import boat_core as boat

def make(seed, tasks=False):
    def upper(x, y, batch):
        return ((y["w"][0] - 1) ** 2).sum() + (x * x).sum()

    def lower(x, y, batch):
        return ((y["w"][0] - x - batch) ** 2).sum()

    def happen(*at):
        """Do what the test asks for; a resumed run is left alone."""
        for word in os.environ.get("HAPPENS", "").split():
            when, what = word.split(":")
            if when == "-".join(map(str, at)):
                if what == "error":
                    raise ZeroDivisionError("of the problem")
                signal.raise_signal(getattr(signal, what))

    def batches(k, rng):
        happen("batch", k)
        pair = rng.standard_normal(2).astype("float32"), None
        return boat.Tasks({k % 3: pair}) if tasks else pair

    def evaluate(x, y):
        happen("evaluate")
        return {"size": np.abs(x.numpy()).max()}

    def panel(axes, x, y):
        happen("panel")

    x, w = np.full(2, float(seed), "float32"), np.zeros(2, "float32")
    return boat.Problem(upper, lower, x, {"w": [w]}, batches, evaluate, panels={"empty": panel}, name="toy")
'''

CONFIG = """\
problem: endings:make
solver:
  map: STEP
  lower_steps: 2
  lower_optimizer: {name: sgd, rate: 0.1, momentum: 0.5}
  upper_optimizer: {name: adam, rate: 0.1}
run: {steps: 7, seed: 3, out: out, evaluate_every: 2, device: cpu}
"""


@pytest.fixture(autouse=True)
def place(monkeypatch, only_toys_installed, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HAPPENS", raising=False)
    (tmp_path / "endings.py").write_text(PROBLEM, "utf-8")
    (tmp_path / "config.yaml").write_text(CONFIG, "utf-8")


@pytest.fixture(autouse=True)
def default_handlers():
    """The handlers of a terminal, also if the tests run in the background with interrupts ignored."""
    defaults = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in defaults.items()}
    yield
    assert {number: signal.signal(number, handler) for number, handler in before.items()} == defaults


def read(name, folder="out"):
    text = Path(folder, name).read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()] if name.endswith("l") else json.loads(text)


def results(folder="out"):
    """All numbers of a run, and not how long its steps took."""
    with np.load(f"{folder}/variables.npz", allow_pickle=False) as stored:
        arrays = {name: (value.dtype.str, value.shape, value.tobytes()) for name, value in stored.items()}
    lines = [[{**line, "seconds": 0} for line in read(f"{name}.jsonl", folder)] for name in ("metrics", "evaluations")]
    return arrays, *lines


@pytest.fixture
def uninterrupted():
    """The results of the run without an ending before its time, by overrides."""

    def compute(*overrides):
        run(read_config("config.yaml", ["run.out=whole", *overrides]))
        return results("whole")

    return compute


ENDINGS = [
    ("batch-3:SIGINT", KeyboardInterrupt, "interrupted", 3),
    ("batch-3:SIGTERM", SystemExit, "interrupted", 4),  # the step is finished
    ("batch-3:SIGHUP", SystemExit, "interrupted", 4),
    ("batch-3:SIGTERM batch-3:SIGTERM", SystemExit, "interrupted", 3),  # once more: at once
    ("batch-3:SIGTERM batch-3:SIGINT", SystemExit, "interrupted", 3),
    ("batch-0:SIGINT", KeyboardInterrupt, "interrupted", 0),
    ("batch-6:SIGTERM", SystemExit, "interrupted", 7),
    ("batch-3:error", ZeroDivisionError, "failed", 3),
    ("batch-3:SIGTERM batch-3:error", SystemExit, "interrupted", 3),  # a compiler that was terminated as well
    ("evaluate:SIGINT", KeyboardInterrupt, "interrupted", 2),
    ("evaluate:error", ZeroDivisionError, "failed", 2),
    ("evaluate:SIGTERM", SystemExit, "interrupted", 2),
]


@pytest.mark.parametrize(("happens", "error", "status", "steps"), ENDINGS)
def test_a_run_that_ended_early_can_be_resumed_bit_for_bit(happens, error, status, steps, monkeypatch, uninterrupted):
    tasks = f"problem_options.tasks={steps == 3}"
    whole = uninterrupted(tasks)
    monkeypatch.setenv("HAPPENS", happens)
    with pytest.raises(error) as caught:
        run(read_config("config.yaml", [tasks]))
    monkeypatch.delenv("HAPPENS")
    first = happens.split()[0].split(":")[1]
    assert getattr(caught.value, "code", None) == {"SIGTERM": 143, "SIGHUP": 129}.get(first)
    summary = read("summary.json")
    assert (summary["status"], summary["steps"], len(read("metrics.jsonl"))) == (status, steps, steps)
    assert summary.get("signal") == (None if first == "error" else first)
    assert os.listdir("out/checkpoints") == [f"step-00000{steps}.npz"]
    assert Path("out/picture.png").exists()
    assert run(read_config("out/config.yaml"), resume="out")["resumed_from"] == steps
    assert results() == whole


@pytest.mark.parametrize("steps", [4, 5])
def test_a_finished_run_can_go_on_to_more_steps(steps, uninterrupted, capsys):
    whole = uninterrupted()
    run(read_config("config.yaml", [f"run.steps={steps}"]))
    assert cli.main(["run", "--resume", "out", "--set", "run.steps=7", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["resumed_from"] == steps
    arrays, metrics, evaluations = results()
    # The shorter run also evaluated at its own end.
    assert (arrays, metrics, [line for line in evaluations if line["iteration"] != 4]) == whole


def test_a_finished_run_that_is_resumed_changes_nothing(uninterrupted):
    whole = uninterrupted()
    assert run(read_config("whole/config.yaml"), resume="whole")["status"] == "finished"
    assert results("whole") == whole


@pytest.mark.parametrize(("name", "code", "said"), [("SIGINT", 130, ""), ("SIGTERM", 143, " by SIGTERM")])
def test_the_command_exits_with_the_code_of_the_signal(name, code, said, monkeypatch, capsys):
    monkeypatch.setenv("HAPPENS", f"batch-3:{name}")
    assert cli.main(["run", "config.yaml", "--json"]) == code
    printed = capsys.readouterr()
    assert f"boat: interrupted{said}\n" in printed.err
    assert json.loads(printed.out)["signal"] == name


@pytest.mark.parametrize(("name", "error"), [("SIGINT", KeyboardInterrupt), ("SIGTERM", SystemExit)])
def test_a_signal_while_the_folder_is_completed_costs_the_picture(name, error, monkeypatch):
    monkeypatch.setenv("HAPPENS", f"panel:{name}")
    seen = []
    with pytest.raises(error):
        run(read_config("config.yaml"), [Seer(seen)])
    summary = read("summary.json")
    assert (summary["status"], summary["not_written"]) == ("finished", {"picture.png": "interrupted"})
    assert seen == []  # observers may take long as well
    monkeypatch.delenv("HAPPENS")
    assert run(read_config("out/config.yaml"), resume="out")["status"] == "finished"


class Seer:
    def __init__(self, seen):
        self.seen = seen

    @hookimpl
    def boat_run_finished(self, run, summary):
        self.seen.append(summary["status"])


class Sender:
    """Sends a signal when a step has been recorded."""

    @hookimpl
    def boat_step_finished(self, run, step):
        if step.iteration == 3:
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_in_an_observer_loses_no_step(uninterrupted):
    whole = uninterrupted()
    with pytest.raises(KeyboardInterrupt):
        run(read_config("config.yaml"), [Sender()])
    assert (read("summary.json")["steps"], len(read("metrics.jsonl"))) == (4, 4)
    run(read_config("out/config.yaml"), resume="out")
    assert results() == whole


def test_ctrl_c_between_a_step_and_its_record_waits_for_the_record():
    is_recording, done = True, []

    def step_and_evaluate():
        nonlocal is_recording
        with StopSignals(lambda: is_recording) as signals:
            with signals.interruptible():
                signal.raise_signal(signal.SIGINT)
                is_recording = False
                done.append("recorded")
            with signals.interruptible():
                done.append("evaluated")

    with pytest.raises(KeyboardInterrupt):
        step_and_evaluate()
    assert done == ["recorded"]


def test_the_first_signal_does_not_interrupt_system_calls():
    """Jittor would take that for a failure, and the step could not finish."""
    end, other_end = os.pipe()

    def send():
        time.sleep(0.2)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)
        time.sleep(0.2)
        os.write(other_end, b"x")

    def wait():
        nonlocal count
        with StopSignals(lambda: False):
            count = ctypes.CDLL(None).read(end, ctypes.create_string_buffer(1), 1)
            thread.join()

    count, thread = 0, threading.Thread(target=send)
    thread.start()
    with pytest.raises(SystemExit):
        wait()
    assert count == 1
    os.close(end)
    os.close(other_end)


def test_a_handler_of_the_programs_own_stays():
    caught = []
    own = signal.signal(signal.SIGTERM, lambda number, frame: caught.append(number))
    try:
        with StopSignals(lambda: False) as signals:
            signal.raise_signal(signal.SIGTERM)
            signals.check()
    finally:
        signal.signal(signal.SIGTERM, own)
    assert caught == [signal.SIGTERM]


def test_other_threads_install_no_handlers():
    inside = []

    def look():
        with StopSignals(lambda: False):
            inside.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert inside == [signal.SIG_DFL]


def test_forked_processes_hold_neither_the_handlers_nor_the_lock(tmp_path):
    """The workers of a pool must die of SIGTERM, and must not keep the folder of a dead run locked."""
    script = """
import os, signal, sys, time
from pathlib import Path
from boat_core.runs.folder import lock_folder
from boat_core.runs.signals import StopSignals
ready, begun = os.pipe()
with lock_folder(Path(".")), StopSignals(lambda: False):
    child = os.fork()
    if not child:
        os.write(begun, b".")
        time.sleep(60)
    os.read(ready, 1)
    print(child, flush=True)
    sys.stdin.read()
"""
    running = subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    child = int(running.stdout.readline())
    try:
        with pytest.raises(RunError, match=f"is in use by process {running.pid} on "), lock_folder(tmp_path):
            pass
        running.kill()
        running.wait()
        with lock_folder(tmp_path):
            pass
        os.kill(child, 0)  # it is still there
    finally:
        os.kill(child, signal.SIGTERM)
        running.stdin.close()
        assert running.stdout.read() == ""  # ends when the child, which has the other end, is dead
        running.stdout.close()


def test_two_processes_cannot_begin_the_same_run():
    inside = []

    class Second:
        @hookimpl
        def boat_run_started(self, run):
            with pytest.raises(RunError, match=f"out is in use by process {os.getpid()} on "), lock_folder(run.folder):
                pass
            inside.append(run.folder)

    run(read_config("config.yaml", ["run.steps=1"]), [Second()])
    assert inside == [Path("out")]


def test_a_damaged_checkpoint_is_replaced_by_the_one_before(uninterrupted):
    whole = uninterrupted()
    run(read_config("config.yaml", ["run.steps=6", "run.checkpoint_every=2"]))
    os.truncate("out/checkpoints/step-000006.npz", 1000)
    message = r"step-000006.npz: expected a checkpoint, .*; it is set aside, and the run goes on from step-000004.npz"
    with pytest.warns(RunWarning, match=message):
        assert run(read_config("out/config.yaml", ["run.steps=7"]), resume="out")["resumed_from"] == 4
    assert results() == whole
    assert {"step-000006.npz", "step-000006.npz.damaged"} <= set(os.listdir("out/checkpoints"))


def test_a_line_that_was_lost_comes_from_the_checkpoint(uninterrupted):
    whole = uninterrupted()
    run(read_config("config.yaml", ["run.steps=5"]))
    path = Path("out/metrics.jsonl")
    path.write_bytes(path.read_bytes()[:-40])
    run(read_config("out/config.yaml", ["run.steps=7"]), resume="out")
    assert results()[:2] == whole[:2]


def test_what_a_killed_process_was_writing_is_removed():
    run(read_config("config.yaml", ["run.steps=5"]))
    leftovers = [Path("out/.summary.json.1.partial"), Path("out/checkpoints/.step-000005.npz.1.partial")]
    for leftover in leftovers:
        leftover.touch()
    run(read_config("out/config.yaml"), resume="out")
    assert not any(leftover.exists() for leftover in leftovers)


def test_checkpoints_of_the_first_version_can_be_resumed(uninterrupted):
    whole = uninterrupted()
    run(read_config("config.yaml", ["run.steps=4"]))
    [path] = checkpoint.newest_first(Path("out"))
    stored = checkpoint.load(path)
    structure = (
        "PyTreeSpec({'iteration': *, 'lower': {'': {'operation': None, 'optimizer': None, 'y': {'w': [*]}}}, "
        "'start': None, 'start_optimizer': None, 'upper': *, 'upper_optimizer': "
    )
    assert stored["structure"].startswith(structure)
    for key in ("paths", "last_line"):
        del stored[key]
    checkpoint.save(path, stored)
    run(read_config("out/config.yaml", ["run.steps=7"]), resume="out")
    assert results() == whole


class FullDisk:
    """Limits the size of files when a hook is called, which a process meets like a full disk."""

    def __init__(self, when, size):
        self.when, self.size = when, size

    def limit(self, *when):
        if when == self.when:
            size = self.size(Path("out"))
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    @hookimpl
    def boat_step_finished(self, run, step):
        self.limit("step", step.iteration)

    @hookimpl
    def boat_evaluated(self, run, iteration):
        self.limit("evaluated", iteration)

    @hookimpl
    def boat_checkpoint_written(self, run, path):
        self.limit("checkpoint", path.name)


def size_of(name, more):
    return lambda folder: (folder / name).stat().st_size + more


@pytest.mark.parametrize(
    ("when", "size", "name"),
    [
        (("step", 3), size_of("metrics.jsonl", 0), "out/checkpoints/step-000004.npz"),
        (("step", 3), size_of("metrics.jsonl", 30), "out/checkpoints/step-000004.npz"),
        (("step", 4), size_of("metrics.jsonl", 30), "out/metrics.jsonl"),
        (("step", 1), size_of("metrics.jsonl", -1), "out/checkpoints/step-000002.npz"),
        (("checkpoint", "step-000007.npz"), size_of("evaluations.jsonl", 9), "out/evaluations.jsonl"),
        (("checkpoint", "step-000007.npz"), size_of("evaluations.jsonl", 99), "out/summary.json"),
    ],
)
def test_a_full_disk_is_one_error_and_the_run_can_be_resumed(when, size, name, uninterrupted, monkeypatch, recwarn):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    whole = uninterrupted()
    recwarn.clear()
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(RunError) as caught:
            run(read_config("config.yaml", ["run.checkpoint_every=2"]), [FullDisk(when, size)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    first = "there is no checkpoint yet, so the run has to begin again"
    more = first if name.endswith("2.npz") else "once that is mended, go on with --resume out"
    assert str(caught.value) == f"{name} cannot be written: File too large; {more}"
    assert [str(w.message) for w in recwarn if "matplotlib" not in str(w.message)] == []
    assert not list(Path("out").rglob("*.partial"))
    if more is first:
        return
    _, stored, damaged = checkpoint.load_newest(Path("out"))
    assert not damaged
    summary = run(read_config("out/config.yaml"), resume="out")
    assert (summary["status"], summary["resumed_from"]) == ("finished", stored["step"])
    assert results() == whole
