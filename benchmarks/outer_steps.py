"""Outer steps per second of the four hyper-cleaning configurations, beside the same loops by hand in PyTorch.

    python benchmarks/outer_steps.py [--steps 20] [--rounds 3] [--torch .peers/torch/bin/python]

`make peers` makes the environment of PyTorch. Both sides start from the same arrays, in float32, and take the same
steps; the table shows how far apart x is after them. Each side runs in a process of its own, in turns.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
from machine import machine

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent / "examples"
CONFIGURATIONS = ("hyper_cleaning", "hyper_cleaning_cg", "hyper_cleaning_gda", "hyper_cleaning_vfo")
WARM = 3

OURS = """\
import json, sys, time
import numpy as np
import boat_core as boat

config, data, warm, steps = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
job = boat.Job(boat.read_config(config))
problem, solver = job.problem, job.solver
train, validation = problem.batches(0, np.random.default_rng(0))
both = {"train": train, "validation": validation}
start = {f"y.{name}": np.asarray(value) for name, value in problem.lower.items()}
rows = {f"{name}.{key}": value for name, batch in both.items() for key, value in batch.items()}
np.savez(data, **rows, **start)
for k in range(warm):
    solver.step(train, validation)
begin = time.perf_counter()
for k in range(steps):
    solver.step(train, validation)
x = np.asarray(solver.state.upper)
print(json.dumps({"seconds": time.perf_counter() - begin, "x": x.tolist()}))
"""


def run(*command: str) -> dict:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--torch", default=str(HERE.parent / ".peers/torch/bin/python"), metavar="PYTHON")
    given = parser.parse_args()
    print(f"{given.steps} outer steps on {machine()}, medians of {given.rounds}\n")
    print("| configuration | ours, steps/s | torch by hand, steps/s | ours / torch | x differs by |")
    print("|---|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        data, counts = str(Path(folder, "data.npz")), (str(WARM), str(given.steps))
        for name in CONFIGURATIONS:
            ours, theirs = [], []
            for _ in range(given.rounds):
                ours.append(run(sys.executable, "-c", OURS, str(EXAMPLES / f"{name}.yaml"), data, *counts))
                theirs.append(run(given.torch, str(HERE / "torch_loops.py"), name, data, *counts))
            rates = [given.steps / median(each["seconds"] for each in side) for side in (ours, theirs)]
            x, reference = (np.array(side[0]["x"]) for side in (ours, theirs))
            apart = np.abs(x - reference).max() / np.abs(reference).max()
            print(f"| {name} | {rates[0]:.1f} | {rates[1]:.1f} | {rates[0] / rates[1]:.2f} | {apart:.0e} |", flush=True)


if __name__ == "__main__":
    main()
