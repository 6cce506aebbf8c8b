"""Programs of the lower steps against the ordinary steps: the time of one outer step, both in turns in one process.

    python benchmarks/engine.py [--rounds 15] [WORK ...]

A ratio is the median time of `engine: plain` over that of `engine: auto`; times are in milliseconds. Before anything is
timed, both engines take two outer steps, and the bits of the upper variables are compared.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from machine import machine

import boat_core as boat

import jittor as jt  # isort: skip
import numpy as np
import optree
from jittor import nn

EXAMPLES = Path(__file__).parent.parent / "examples"
ENGINES = ("plain", "auto")

#: Builds a solver and the arguments of its steps for one engine.
Work = Callable[[str], tuple[boat.Solver, dict[str, Any]]]


def array(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype("float32")


def solver(problem: boat.Problem, engine: str, **settings: Any) -> boat.Solver:
    return boat.Solver(problem, map="NGD", upper_optimizer=boat.sgd(1e-3), engine=engine, **settings)


def ridge(engine: str) -> tuple[boat.Solver, dict[str, Any]]:
    """Ridge regression in 100 dimensions, 20 lower steps, CG with at most 20 iterations."""

    def lower(x: Any, y: Any, batch: Any) -> Any:
        error = jt.matmul(batch["a"], y["w"]) - batch["b"]
        return (error * error).mean() + (jt.exp(x["l"]) * y["w"] * y["w"]).mean()

    def upper(x: Any, y: Any, batch: Any) -> Any:
        error = jt.matmul(batch["a"], y["w"]) - batch["b"]
        return (error * error).mean()

    problem = boat.Problem(upper, lower, {"l": array(0, 1)}, {"w": array(1, 100, 1)})
    batch = {"a": array(2, 200, 100, scale=0.1), "b": array(3, 200, 1)}
    one = solver(problem, engine, approximate="CG", lower_steps=20, lower_optimizer=boat.sgd(0.1))
    return one, {"lower_batch": batch, "upper_batch": batch}


def network(engine: str) -> tuple[boat.Solver, dict[str, Any]]:
    """A network 64-32-10 with a weight decay for each weight, unrolled through 50 steps on 128 rows."""

    def loss(y: Any, batch: Any) -> Any:
        hidden = jt.tanh(nn.matmul(batch["a"], y["in"]) + y["bias"])
        return nn.cross_entropy_loss(nn.matmul(hidden, y["out"]), batch["b"])

    def lower(x: Any, y: Any, batch: Any) -> Any:
        return loss(y, batch) + (jt.exp(x["l"]) * y["in"] * y["in"]).mean()

    start = {"in": array(1, 64, 32, scale=0.1), "bias": array(2, 32, scale=0.1), "out": array(3, 32, 10, scale=0.1)}
    problem = boat.Problem(lambda x, y, batch: loss(y, batch), lower, {"l": array(0, 64, 32, scale=0.0)}, start)
    batch = {"a": array(4, 128, 64), "b": np.arange(128, dtype="int32") % 10}
    settings = {"approximate": "RAD", "lower_steps": 50, "lower_optimizer": boat.sgd(0.1), "start": "cold"}
    return solver(problem, engine, **settings), {"lower_batch": batch, "upper_batch": batch}


def sinusoids(engine: str) -> tuple[boat.Solver, dict[str, Any]]:
    """MAML: 32 tasks of ten points each, a network 1-40-40-1, five steps."""

    def loss(y: Any, batch: Any) -> Any:
        hidden = jt.tanh(nn.matmul(batch["a"], y["w0"]) + y["b0"])
        hidden = jt.tanh(nn.matmul(hidden, y["w1"]) + y["b1"])
        error = nn.matmul(hidden, y["w2"]) + y["b2"] - batch["b"]
        return (error * error).mean()

    sizes = (1, 40, 40, 1)
    start: dict[str, Any] = {}
    for layer in range(3):
        start[f"w{layer}"] = array(layer, sizes[layer], sizes[layer + 1], scale=0.3)
        start[f"b{layer}"] = array(layer, sizes[layer + 1], scale=0.0)
    problem = boat.Problem(lambda x, y, batch: loss(y, batch), lambda x, y, batch: loss(y, batch), start, start)
    tasks = [
        tuple({"a": array(10 * task + half, 10, 1), "b": array(10 * task + half + 2, 10, 1)} for half in range(2))
        for task in range(32)
    ]
    settings = {"approximate": ["IAD", "RAD"], "lower_steps": 5, "lower_optimizer": boat.sgd(0.01)}
    return solver(problem, engine, **settings), {"tasks": tasks}


def example(name: str) -> Work:
    def work(engine: str) -> tuple[boat.Solver, dict[str, Any]]:
        job = boat.Job(boat.read_config(str(EXAMPLES / name), [f"solver.engine={engine}"]))
        return job.solver, job.batches(0)

    return work


WORKS: dict[str, Work] = {
    "ridge": ridge,
    "network": network,
    "sinusoids": sinusoids,
    **{path.stem: example(path.name) for path in sorted(EXAMPLES.glob("hyper_cleaning*.yaml"))},
}


def compare(work: Work, rounds: int) -> tuple[dict[str, float], bool, str]:
    """Return the median times by engine, whether the bits are equal, and what ran the lower steps."""
    solvers = {engine: work(engine) for engine in ENGINES}
    for one, batches in solvers.values():
        for _ in range(2):
            report = one.step(**batches).report
    plain, auto = ([np.asarray(leaf) for leaf in optree.tree_leaves(one.state.upper)] for one, _ in solvers.values())
    equal = all(a.tobytes() == b.tobytes() for a, b in zip(plain, auto))
    times: dict[str, list[float]] = {engine: [] for engine in ENGINES}
    for number in range(rounds):
        # Who comes first changes, because a step may leave work to the next one.
        for engine in ENGINES if number % 2 else reversed(ENGINES):
            one, batches = solvers[engine]
            begin = time.perf_counter()
            one.step(**batches)
            times[engine].append(1e3 * (time.perf_counter() - begin))
    return {engine: statistics.median(values) for engine, values in times.items()}, equal, report.engine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"of {', '.join(WORKS)}; all by default")
    parser.add_argument("--rounds", type=int, default=16)
    arguments = parser.parse_args()
    print(machine())
    print("| work | plain | auto | plain / auto | bits | lower steps |\n|---|--:|--:|--:|---|---|")
    for name in arguments.works or WORKS:
        times, equal, engine = compare(WORKS[name], arguments.rounds)
        ratio = times["plain"] / times["auto"]
        bits = "equal" if equal else "differ"
        print(f"| {name} | {times['plain']:.2f} | {times['auto']:.2f} | {ratio:.2f} | {bits} | {engine} |", flush=True)


if __name__ == "__main__":
    main()
