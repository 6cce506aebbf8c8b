"""How long outer steps of the main job take on a busy machine, in ratios to an idle one.

    python benchmarks/busy.py [--config examples/hyper_cleaning.yaml] [--steps 20] [--rounds 3] [--set KEY=VALUE ...]

Three situations take turns: the job alone, beside one process that keeps one core busy, and two of the job side by
side. The job is also run alone with one thread. The machine must be idle otherwise.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from machine import machine

ROOT = Path(__file__).parent.parent
JOB = """\
import sys, time
import numpy as np
import boat_core as boat

path, steps, *overrides = sys.argv[1:]
job = boat.Job(boat.read_config(path, overrides=overrides))

def go(count):
    for k in range(count):
        batches = job.problem.batches(k, np.random.default_rng(k)) if job.problem.batches else ()
        job.solver.step(*batches)

go(3)
print("ready", flush=True)
sys.stdin.readline()
start = time.perf_counter()
go(int(steps))
print(time.perf_counter() - start, flush=True)
"""
BUSY = "while True: pass"


class Job:
    """A process that is warm and waits to be told to start."""

    def __init__(self, arguments: list[str], **variables: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", JOB, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **variables},
        )
        self._wait_for("ready")

    def _wait_for(self, word: str) -> str:
        for line in self.process.stdout:
            if not word or line.startswith(word):
                return line
        raise RuntimeError("the job ended early")

    def start(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def seconds(self) -> float:
        taken = float(self._wait_for(""))
        self.process.wait()
        return taken


def together(*jobs: Job) -> list[float]:
    for job in jobs:
        job.start()
    return [job.seconds() for job in jobs]


def beside_a_busy_process(arguments: list[str]) -> float:
    job, busy = Job(arguments), subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        return together(job)[0]
    finally:
        busy.kill()
        busy.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", default=str(ROOT / "examples" / "hyper_cleaning.yaml"))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", dest="overrides")
    given = parser.parse_args()
    arguments = [given.config, str(given.steps), *given.overrides]
    situations = {
        "alone": lambda: together(Job(arguments))[0],
        "alone, one thread": lambda: together(Job(arguments, OMP_NUM_THREADS="1"))[0],
        "beside a busy process": lambda: beside_a_busy_process(arguments),
        "two side by side, each": lambda: max(together(Job(arguments), Job(arguments))),
    }
    times: dict[str, list[float]] = {name: [] for name in situations}
    for _ in range(given.rounds):
        for name, run in situations.items():
            times[name].append(run())
    alone = median(times["alone"])
    print(f"{given.steps} outer steps of {Path(given.config).name} on {machine()}, medians of {given.rounds}")
    for name, taken in times.items():
        print(f"{name:24} {median(taken):7.2f} s  {median(taken) / alone:5.2f} × alone")


if __name__ == "__main__":
    main()
