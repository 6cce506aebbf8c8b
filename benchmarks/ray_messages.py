"""What one outer step on Ray costs in messages: bytes, seconds of the driver, seconds of a worker, latency.

    python benchmarks/ray_messages.py --write benchmarks/ray_messages.json

It needs boat-ray. The figures are constants of the model in `ray_simulation.py`. The times are medians on this machine,
over its own memory. A network is slower; the model has a bandwidth for that.
"""

from __future__ import annotations

import argparse
import json
import pickle
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray

import boat_core as boat
from boat_ray.cluster import Cluster
from boat_ray.options import ClusterOptions

import numpy as np  # isort: skip

#: The sizes of x in numbers of float32, and rows of 64 float32 in a task's batches.
SIZES, ROWS = (10_000, 100_000, 1_000_000, 10_000_000), 64


class Echo:
    """An actor that answers."""

    def nothing(self) -> None:
        return None

    def take(self, x: Any) -> float:
        begun = time.perf_counter()
        boat.Vector.of(list(x), "x").sync()
        return time.perf_counter() - begun

    def give(self, count: int) -> Any:
        return np.ones(count, np.float32)


def problem(count: int) -> boat.Problem:
    """Return a problem with `count` upper variables, which costs next to nothing."""

    def upper(x: Any, y: Any, batch: Any) -> Any:
        return ((y - 1.0) ** 2).sum() + 1e-3 * (x * x).mean() + 0.0 * batch["rows"].mean()

    def lower(x: Any, y: Any, batch: Any) -> Any:
        return ((y - x[:8]) ** 2).sum() + 0.0 * batch["rows"].mean()

    return boat.Problem(upper, lower, np.ones(count, np.float32), np.zeros(8, np.float32))


def seconds(function: Callable[[], Any], times: int = 7) -> float:
    """Return the median of the seconds that a call takes, after one call that does not count."""
    taken = []
    for _ in range(times + 1):
        begun = time.perf_counter()
        function()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken[1:])


def of_size(count: int, actor: Any) -> dict[str, Any]:
    """Measure the messages of a step with this many upper variables."""
    settings: dict[str, Any] = dict(lower_steps=2, lower_optimizer=boat.sgd(0.1), upper_optimizer=boat.sgd(0.1))
    solver = boat.Solver(problem(count), method="RHG", **settings)
    rows = {"rows": np.ones((ROWS, 64), np.float32)}
    outer, state, batches = solver.outer, solver.outer.initial_state(), boat.Batches(tasks=[(rows, rows)] * 8)
    (step, *_) = outer.steps(state, batches).values()
    outcome = step.solve()
    data, answer = boat.StepData.of(step, outer), boat.OutcomeData.of(outcome)
    x, replica = step.x.to_numpy(), boat.Replica(outer)
    sent, received = pickle.dumps(data, 5), pickle.dumps(answer, 5)
    held = ray.put(answer)
    fetched = ray.get(held)
    pair = [outcome.direction, outcome.direction]
    return {
        "x_numbers": count,
        "x_bytes": sum(leaf.nbytes for leaf in x),
        "task_bytes": len(sent),
        "answer_bytes": len(received),
        "put_x": seconds(lambda: ray.put(x)),
        "worker_takes_x": seconds(lambda: ray.get(actor.take.remote(x))),
        "prepare_task": seconds(lambda: outer.steps(state, batches)) / 8,
        "make_task": seconds(lambda: boat.StepData.of(step, outer)),
        "worker_makes_step": seconds(lambda: data.step(replica, step.x)),
        "make_answer": seconds(lambda: boat.OutcomeData.of(outcome)),
        "get_answer": seconds(lambda: ray.get(held)),
        "read_answer": seconds(lambda: fetched.outcome(outer)),
        "add": seconds(lambda: boat.pairwise_sum(pair)),
        "receive": seconds(lambda: ray.get(actor.give.remote(count))),
    }


def calls(actor: Any) -> dict[str, float]:
    """Measure calls of an actor: the way there and back, and what the driver needs for one of many."""

    def many() -> None:
        ray.get([actor.nothing.remote() for _ in range(500)])

    return {
        "round_trip": seconds(lambda: ray.get(actor.nothing.remote()), 50),
        "driver_per_call": seconds(many) / 500,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", type=Path, help="a file for the figures, as JSON")
    arguments = parser.parse_args()
    cluster = Cluster(ClusterOptions(address="local", object_store=1000), 1)
    try:
        actor = ray.remote(Echo).remote()
        ray.get(actor.nothing.remote())
        figures = {"calls": calls(actor), "sizes": [of_size(count, actor) for count in SIZES]}
    finally:
        cluster.close()
    text = json.dumps(figures, indent=1)
    print(text)
    if arguments.write:
        arguments.write.write_text(f"{text}\n", "utf-8")


if __name__ == "__main__":
    main()
