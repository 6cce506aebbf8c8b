"""Time and memory of one hypergradient by RAD, for T lower steps and each setting of what the pullback keeps.

The problem has 512 training rows of 64 features, a 64-128-10 tanh network, one weight per row, SGD and float32. One
call of this script measures all cells, each in a separate process whose peak memory it reports. Times are medians of 7
after a warm-up that compiles. Absolute times depend on the machine; compare the ratios.

    python benchmarks/hypergradient.py [--steps 20 200]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

SEGMENTS = ("1", "10", "all", "sqrt", "auto")


def measure(steps: int, segment: str) -> dict[str, float]:
    """Return seconds per hypergradient, peak memory above the import in MB, and seconds of the first call."""
    import boat_core as boat

    import jittor as jt  # isort: skip
    import numpy as np

    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(512, 64)).astype("float32"), rng.integers(0, 10, 512)
    one_hot = np.eye(10, dtype="float32")[labels]
    start = {
        "w1": (rng.normal(size=(64, 128)) * 0.1).astype("float32"),
        "b1": np.zeros(128, "float32"),
        "w2": (rng.normal(size=(128, 10)) * 0.1).astype("float32"),
        "b2": np.zeros(10, "float32"),
    }

    def losses(y, batch):
        logits = jt.matmul(jt.tanh(jt.matmul(batch["images"], y["w1"]) + y["b1"]), y["w2"]) + y["b2"]
        shifted = logits - logits.max(dim=1, keepdims=True)
        return jt.log(shifted.exp().sum(dim=1)) - (shifted * batch["one_hot"]).sum(dim=1)

    problem = boat.Problem(
        lambda x, y, batch: losses(y, batch).mean(),
        lambda x, y, batch: (jt.sigmoid(x) * losses(y, batch)).mean(),
        np.zeros(512, "float32"),
        start,
    )
    solver = boat.Solver(
        problem,
        map=["NGD"],
        approximate=["RAD"],
        lower_steps=steps,
        lower_optimizer=boat.sgd(0.1),
        upper_optimizer=boat.sgd(0.1),
        segment=int(segment) if segment.isdigit() else segment,
    )
    batch = {"images": images, "one_hot": one_hot}

    def once() -> float:
        begin = time.perf_counter()
        solver.hypergradient(batch, batch).upper.numpy()
        return time.perf_counter() - begin

    imported = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    first = once()
    times = [once() for _ in range(7)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": statistics.median(times), "megabytes": (peak - imported) / 1024, "first": first}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, nargs="+", default=[20, 200])
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cell:
        print(json.dumps(measure(int(arguments.cell[0]), arguments.cell[1])))
        return
    print(f"{'T':>5} {'segment':>8} {'ms':>9} {'ratio':>6} {'peak MB':>8} {'first s':>8}")
    for steps in arguments.steps:
        base = None
        for segment in SEGMENTS:
            command = [sys.executable, __file__, "--cell", str(steps), segment]
            out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            cell = json.loads(out.splitlines()[-1])
            base = base or cell["seconds"]
            ratio = cell["seconds"] / base
            print(
                f"{steps:>5} {segment:>8} {1e3 * cell['seconds']:>9.1f} {ratio:>6.2f}"
                f" {cell['megabytes']:>8.0f} {cell['first']:>8.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
