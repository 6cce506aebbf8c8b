"""The throughput of a sweep with two jobs against that with one, in turns.

python benchmarks/sweeps.py [--pairs 3] [--runs 4] [--steps 60] [--threads 1]

Each sweep is the data hyper-cleaning of examples/ with as many seeds as there are runs, every run a process. Its time
is that of the whole command, so starts, the wait for the run that compiles kernels, and results are part of it. A first
sweep, which is not counted, compiles the kernels. The ratio of each pair of sweeps is printed, and the median.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONFIG = Path(__file__).parent.parent / "examples" / "hyper_cleaning.yaml"


def seconds_of_sweep(jobs: int, runs: int, steps: int, threads: int) -> float:
    """Carry out one sweep and return how long that took."""
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--seeds", f"0..{runs - 1}", "--jobs", str(jobs), "--out", f"{folder}/sweep", "--json"]
        command = [sys.executable, "-m", "boat_core", "sweep", str(CONFIG), *flags, "--set", f"run.steps={steps}"]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        begin = time.perf_counter()
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
        seconds = time.perf_counter() - begin
    results = json.loads(done.stdout)
    assert [run["status"] for run in results["runs"]] == ["finished"] * runs
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    seconds_of_sweep(1, 1, 3, arguments.threads)
    ratios = []
    for _ in range(arguments.pairs):
        one, two = (seconds_of_sweep(jobs, arguments.runs, arguments.steps, arguments.threads) for jobs in (1, 2))
        ratios.append(one / two)
        print(f"one job {one:6.1f} s   two jobs {two:6.1f} s   ratio {one / two:.2f}", flush=True)
    print(f"median ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
