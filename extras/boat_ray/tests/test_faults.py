"""Faults that take time: workers that are killed at any moment, stop, or run out of memory; nodes and heads that go."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

TWO = "{name: ray, workers: 2"

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]


def workers_of(job):
    return [int(member.name.split()[0]) for member in job.executor.workers if member.name != "?"]


@pytest.mark.parametrize("options", ["}", ", group: 2, reduce: tree}"], ids=["driver", "tree"])
def test_workers_that_are_killed_at_any_moment_change_nothing(
    ray_here, make_job, steps_of, assert_same_bits, caplog, options
):
    here, away = make_job(tasks=16), make_job(TWO + options, tasks=16)
    ended, chance = threading.Event(), random.Random(0)

    def kill():
        while not ended.wait(chance.uniform(0.1, 1.5)):
            for process in workers_of(away)[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    away.solver.step(**away.batches(0))  # the workers are there
    away.solver.restore(make_job(tasks=16).solver.state)
    killer.start()
    try:
        result = steps_of(away, 200)
    finally:
        ended.set()
        killer.join()
    assert_same_bits(steps_of(here, 200), result)
    assert len(caplog.messages) > 2  # so many were killed


@pytest.mark.parametrize("fault", ["memory", "stop"])
def test_a_worker_that_fails_or_stops_changes_nothing(ray_here, make_job, steps_of, assert_same_bits, caplog, fault):
    here, away = (make_job(one, fault=fault, tasks=8) for one in ("sequential", TWO + "}"))
    here_result = steps_of(here, 4)
    away.solver.step(**away.batches(0))
    processes = workers_of(away)
    away.solver.restore(make_job(tasks=8).solver.state)
    try:
        assert_same_bits(here_result, steps_of(away, 4))
    finally:
        for process in processes:  # a stopped one would stay
            subprocess.run(["kill", "-KILL", str(process)], capture_output=True, check=False)
    assert len(caplog.messages) == (fault == "memory")


def boat(*arguments, **environment):
    command = [sys.executable, "-m", "boat_core", *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment})


def config_of(job):
    return Path(job.config.source.name)


def variables(folder):
    with np.load(folder / "variables.npz") as stored:
        return {name: stored[name] for name in stored.files}


def same(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def test_ray_of_our_own_is_quiet_and_leaves_nothing(make_job, tmp_path):
    (home := tmp_path / "home").mkdir()
    config = config_of(make_job("{name: ray, workers: 1, address: local}"))
    process = boat("run", config, HOME=str(home), JITTOR_HOME=os.path.expanduser("~"))
    _, messages = process.communicate(timeout=120)
    assert process.returncode == 0, messages
    assert "raylet" not in messages and "Ray" not in messages
    assert not (home / ".ray").exists()
    assert not list(Path(tempfile.gettempdir()).glob(f"boat-ray-{process.pid}-*"))
    left = subprocess.run(["ps", "-e", "-ww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    assert f"boat-ray-{process.pid}-" not in left


class Node:
    """A node of a cluster of its own: `ray start` with one CPU, in a session of processes that `kill` ends."""

    def __init__(self, *arguments: str) -> None:
        command = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus=1", *arguments]
        quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
        self._process = subprocess.Popen(
            [*command, f"--object-store-memory={100 * 2**20}", "--node-ip-address=127.0.0.1"],
            env={**os.environ, **quiet},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def kill(self, name: str = "") -> None:
        """Kill the processes of the node whose command contains a name. They are those of its session."""
        columns = ["ps", "-e", "-ww", "-o", "pid=,sid=,args="]
        rows = subprocess.run(columns, capture_output=True, text=True, check=True).stdout.splitlines()
        for process, session, command in (row.split(maxsplit=2) for row in rows):
            if int(session) == self._process.pid and name in command:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(process), signal.SIGKILL)
        if not name:
            self._process.wait()


@pytest.fixture
def head(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tempfile.mkdtemp(prefix="boat-ray-head-")
    node = Node("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}")
    node.address = f"127.0.0.1:{port}"
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            break
        time.sleep(0.2)
    time.sleep(3.0)
    yield node
    node.kill()
    shutil.rmtree(folder, ignore_errors=True)


def wait_for_steps(folder, count, process):
    metrics = folder / "metrics.jsonl"
    for _ in range(1200):
        if metrics.exists() and len(metrics.read_text().splitlines()) >= count:
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    raise AssertionError(f"{folder} has no {count} steps")


STEPS = ("--set", "run.steps=400")
QUIET = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}


def test_a_node_that_leaves_changes_nothing(head, make_job, tmp_path):
    here = boat("run", config_of(make_job(name="here")), *STEPS)
    here.communicate(timeout=200)
    second = Node(f"--address={head.address}")
    time.sleep(6.0)
    away = config_of(make_job(f"{{name: ray, workers: 2, address: '{head.address}'}}", name="away"))
    process = boat("run", away, *STEPS, **QUIET)
    try:
        wait_for_steps(tmp_path / "away", 20, process)
        second.kill()
        _, messages = process.communicate(timeout=200)
    finally:
        process.kill()
        second.kill()
    assert process.returncode == 0, messages
    assert same(variables(tmp_path / "here"), variables(tmp_path / "away"))


def test_a_head_that_disappears_ends_the_run_with_a_checkpoint(head, make_job, tmp_path):
    config = config_of(make_job(f"{{name: ray, workers: 1, address: '{head.address}'}}", name="away"))
    process = boat("run", config, *STEPS, **QUIET)
    try:
        wait_for_steps(tmp_path / "away", 20, process)
        head.kill("gcs_server")
        _, messages = process.communicate(timeout=200)
    finally:
        process.kill()
    assert process.returncode == 2, messages
    assert "the head of the Ray cluster at" in messages
    summary = json.loads((tmp_path / "away" / "summary.json").read_text())
    assert summary["status"] == "failed" and 20 <= summary["steps"] < 400
    resumed = boat("run", "--resume", tmp_path / "away", "--set", "run.executor=sequential")
    resumed.communicate(timeout=200)
    here = boat("run", config_of(make_job(name="here")), *STEPS)
    here.communicate(timeout=200)
    assert same(variables(tmp_path / "here"), variables(tmp_path / "away"))
