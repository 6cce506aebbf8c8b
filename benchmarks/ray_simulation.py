"""One outer step on a Ray cluster, simulated: how many workers pay, and where the driver becomes the bottleneck.

    pip install simpy
    python benchmarks/ray_simulation.py                 # the tables of docs/ray.md
    python benchmarks/ray_simulation.py --check         # real steps with 1, 2 and 4 workers beside the model

The driver is one process and one network card. It makes and sends portions, receives answers, and sums. Workers take
portions as `boat_ray.pool` gives them. The constants come from `ray_messages.json`, which `ray_messages.py` measures;
the network and the cost of a task are assumptions, see `Machine`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import simpy

from boat_ray.pool import portion_size

MEASURED = Path(__file__).with_name("ray_messages.json")


@dataclass(frozen=True)
class Machine:
    """What things cost, in seconds. The first four are assumptions about a cluster, the others are measured.

    Args:
        bandwidth: bytes a second of a network card.
        workers_per_node: workers that share one.
        task: seconds of a task beside what depends on x.
        waits: seconds of a task in which no processor works, where the check has tasks that sleep.
        passes: how often a task reads or writes x, at 5 GB a second.
        cores: how many processors all share; None where each worker has its own.
        round_trip: a call of an actor, there and back.
        call: the driver's part of a call.
        prepare, make, read, add: the driver's fixed part of a task: reading its batches, making its data, reading its
            answer, and adding it to the others'. `get` is the fixed part of a portion's answer.
        around: the worker's fixed part of a task beside solving it.
        task_bytes: the batches of a task.
        read_byte, add_byte: the driver's seconds for a byte of a hypergradient, likewise.
        put: seconds for a byte of x that goes into the object store; `take`, for one that a worker reads;
            `give`, for one of a hypergradient that a worker sends.
    """

    bandwidth: float = 1.25e9
    workers_per_node: int = 16
    task: float = 0.05
    waits: float = 0.0
    cores: int | None = None
    passes: float = 20.0
    round_trip: float = 1.1e-3
    call: float = 1.5e-4
    prepare: float = 2e-4
    make: float = 2e-4
    read: float = 1e-4
    get: float = 1e-4
    add: float = 1e-4
    around: float = 2e-4
    task_bytes: float = 35_000.0
    read_byte: float = 1e-9
    add_byte: float = 1e-9
    put: float = 5e-10
    take: float = 5e-10
    give: float = 5e-10

    @classmethod
    def measured(cls) -> Machine:
        """Return the machine of `ray_messages.json`."""
        figures = json.loads(MEASURED.read_text("utf-8"))
        small, *_, large = figures["sizes"]
        size = large["x_bytes"] - small["x_bytes"]

        def per_byte(name: str) -> float:
            return max(0.0, large[name] - small[name]) / size

        return cls(
            round_trip=figures["calls"]["round_trip"],
            call=figures["calls"]["driver_per_call"],
            prepare=small["prepare_task"],
            make=small["make_task"],
            read=small["read_answer"],
            get=small["get_answer"],
            add=small["add"],
            around=small["worker_makes_step"] + small["make_answer"],
            task_bytes=small["task_bytes"],
            read_byte=per_byte("read_answer"),
            add_byte=per_byte("add"),
            put=per_byte("put_x"),
            take=per_byte("worker_takes_x"),
            give=per_byte("make_answer"),
        )


@dataclass(frozen=True)
class Plan:
    """How the executor is set: `group`, `reduce: tree`, `batches: workers`."""

    group: int = 1
    tree: bool = False
    drawn: bool = False


def step_seconds(machine: Machine, workers: int, tasks: int, x_bytes: float, plan: Plan) -> tuple[float, float]:
    """Simulate one outer step; return its seconds, and those in which the driver was busy."""
    world = simpy.Environment()
    driver, card = simpy.Resource(world), simpy.Resource(world)
    cores = simpy.Resource(world, machine.cores or workers + 1)
    groups, busy = math.ceil(tasks / plan.group), 0.0
    computing = plan.group * (machine.around + machine.task + machine.passes * x_bytes / 5e9)
    seconds_of_group = computing + plan.group * machine.waits
    left = groups

    def work(resource: Any, seconds: float) -> Iterator[Any]:
        nonlocal busy
        if seconds <= 0:
            return
        with resource.request() as turn:
            yield turn
            if resource is driver:
                busy += seconds
                yield from compute(seconds)
            else:
                yield world.timeout(seconds)

    def compute(seconds: float) -> Iterator[Any]:
        with cores.request() as core:
            yield core
            yield world.timeout(seconds)

    def worker() -> Iterator[Any]:
        nonlocal left
        took_x = False
        while left > 0:
            size = portion_size(left, 1.0 / workers, 1.0 / seconds_of_group)
            left -= size
            count = min(tasks, size * plan.group)
            yield from work(driver, machine.call + count * machine.make)
            if not plan.drawn:
                yield from work(card, count * machine.task_bytes / machine.bandwidth)
            yield world.timeout(machine.round_trip / 2)
            if not took_x:
                took_x = True
                yield from compute(machine.take * x_bytes)
            for _ in range(size if machine.waits else 1):
                share = 1 if machine.waits else size
                yield world.timeout(share * plan.group * machine.waits)
                yield from compute(share * (computing + machine.give * x_bytes))
            yield world.timeout(machine.round_trip / 2)
            vectors = 0 if plan.tree else size
            yield from work(card, vectors * x_bytes / machine.bandwidth)
            yield from work(driver, machine.get + count * machine.read + vectors * machine.read_byte * x_bytes)

    def step() -> Iterator[Any]:
        prepared = 1 if plan.drawn else tasks
        yield from work(driver, prepared * machine.prepare + machine.put * x_bytes)
        # Ray hands objects on from node to node, so that x reaches all of them in about log2 rounds.
        nodes = math.ceil(workers / machine.workers_per_node)
        yield world.timeout(math.ceil(math.log2(nodes + 1)) * x_bytes / machine.bandwidth)
        yield world.all_of([world.process(worker()) for _ in range(min(workers, groups))])
        if plan.tree:
            yield from summed()
        else:
            yield from work(driver, (groups - 1) * (machine.add + machine.add_byte * x_bytes))

    def summed() -> Iterator[Any]:
        level = groups
        while level > 1:
            pairs = level // 2
            level -= pairs
            yield from work(driver, pairs * machine.call)
            turns = math.ceil(pairs / workers)
            moved = x_bytes / machine.bandwidth * machine.workers_per_node
            yield world.timeout(machine.round_trip + turns * (moved + 2 * (machine.take + machine.give) * x_bytes))
        yield from work(card, x_bytes / machine.bandwidth)

    world.run(world.process(step()))
    return world.now, busy


def ideal(machine: Machine, workers: int, tasks: int, x_bytes: float) -> float:
    """Return the seconds of a step without any message."""
    return math.ceil(tasks / workers) * (machine.task + machine.passes * x_bytes / 5e9)


PLANS = {
    "driver": Plan(),
    "groups": Plan(group=64),
    "groups and tree": Plan(group=64, tree=True, drawn=True),
}
WORKERS = (1, 4, 16, 64, 256, 1_000)


def plan_for(plan: Plan, workers: int, tasks: int) -> Plan:
    """Return the plan with a group so small that every worker has some."""
    largest = 2 ** max(0, int(math.log2(max(1.0, tasks / (2 * workers)))))
    return replace(plan, group=min(plan.group, largest))


#: Bytes of hypergradients that the driver can hold.
MEMORY = 64e9


def cell(machine: Machine, workers: int, tasks: int, x_bytes: float, plan: Plan) -> tuple[str, str]:
    """Return tasks a second and the efficiency as text. A plan whose hypergradients do not fit has none."""
    plan = plan_for(plan, workers, tasks)
    if not plan.tree and tasks / plan.group * x_bytes > MEMORY:
        return "—", "—"
    seconds, busy = step_seconds(machine, workers, tasks, x_bytes, plan)
    rate, efficiency = tasks / seconds, ideal(machine, workers, tasks, x_bytes) / seconds
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}", f"{efficiency:.0%}{'*' if busy > 0.5 * seconds else ''}"


def tables(machine: Machine) -> None:
    """Print efficiency and throughput: rows by x and tasks, columns by workers."""
    print(f"{machine}\n")
    for title, place in (("Efficiency", 1), ("Tasks a second", 0)):
        print(f"{title}, {' / '.join(PLANS)}:\n")
        print("| numbers in x | tasks | " + " | ".join(f"{n:,}" for n in WORKERS) + " |")
        print("|--:|--:|" + "--:|" * len(WORKERS))
        for count in (10**4, 10**6, 10**8):
            for tasks in (32, 1_000, 100_000):
                columns = []
                for workers in WORKERS:
                    cells = [cell(machine, workers, tasks, 4.0 * count, plan)[place] for plan in PLANS.values()]
                    columns.append(" / ".join(cells))
                print(f"| 10^{round(math.log10(count))} | {tasks:,} | " + " | ".join(columns) + " |", flush=True)
        print()
    print("* the driver is busy for more than half of the step. — the hypergradients do not fit into 64 GB.")


# The model beside real steps


def sleeping(count: int, executor: Any = None) -> Any:
    """Return a solver whose tasks take a fixed time, however few cores there are."""
    import numpy as np

    import boat_core as boat

    def upper(x: Any, y: Any, batch: Any) -> Any:
        return ((y - 1.0) ** 2).sum() + 1e-3 * (x * x).mean()

    def lower(x: Any, y: Any, batch: Any) -> Any:
        time.sleep(batch["seconds"])
        return ((y - x[:8]) ** 2).sum()

    problem = boat.Problem(upper, lower, np.ones(count, np.float32), np.zeros(8, np.float32))
    settings: dict[str, Any] = dict(lower_steps=1, lower_optimizer=boat.sgd(0.1), upper_optimizer=boat.sgd(0.1))
    return boat.Solver(problem, method="RHG", executor=executor, **settings)


def seconds_of_task(solver: Any, tasks: list[Any]) -> float:
    """Return the seconds of a task in this process."""
    solver.step(tasks=tasks)
    begun = time.perf_counter()
    for _ in range(3):
        solver.step(tasks=tasks)
    return (time.perf_counter() - begun) / (3 * len(tasks))


def check(machine: Machine) -> None:
    """Print the seconds of real steps beside those of the model."""
    import functools

    import numpy as np
    from ray import cloudpickle

    from boat_ray import ExecutorOptions, RayExecutor

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    print("| workers | tasks | x | measured, s | model, s | model / measured |\n|--:|--:|--:|--:|--:|--:|")
    for count in (10**4, 10**6):
        factory = functools.partial(sleeping, count)
        rows = np.ones((64, 64), np.float32)
        tasks = [({"seconds": 0.01, "rows": rows}, {"rows": rows})] * 32
        plain = factory()
        whole, computing = (
            seconds_of_task(plain, [({**lower, "seconds": s}, upper) for lower, upper in tasks[:4]])
            for s in (0.01, 0.0)
        )
        for workers in (1, 2, 4):
            options = ExecutorOptions(workers=workers, address="local", object_store=600)
            with RayExecutor(options, factory) as executor:
                solver = factory(executor)
                for _ in range(3):
                    solver.step(tasks=tasks)
                taken = []
                for _ in range(5):
                    begun = time.perf_counter()
                    solver.step(tasks=tasks)
                    taken.append(time.perf_counter() - begun)
            measured = sorted(taken)[2]
            local = replace(machine, bandwidth=4e9, task=computing, waits=whole - computing, passes=0.0, cores=2)
            model, _ = step_seconds(local, workers, len(tasks), 4.0 * count, Plan())
            print(f"| {workers} | {len(tasks)} | {count:,} | {measured:.3f} | {model:.3f} | {model / measured:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare the model with real steps")
    arguments = parser.parse_args()
    machine = Machine.measured()
    check(machine) if arguments.check else tables(machine)


if __name__ == "__main__":
    main()
