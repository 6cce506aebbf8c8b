"""A problem for workers: small networks, one task for each pair of batches, and faults that a batch brings along.

A fault is a name and a file. It strikes in processes other than the driver, once: whoever makes the file has it.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import boat_core as boat
from boat_core.testing import network_problem


def problem(seed: int, tasks: int = 5, fault: str = "", at: int = 3, step: int = 1, driver: int = 0, folder: str = ""):
    """Build it. The fault comes with the batch of the task `at` in outer step `step`."""
    network = network_problem(seed)
    pair = network.batches(0, None)

    def batches(k, rng):
        scales = rng.uniform(0.5, 1.5, size=(tasks, 2))
        pairs = [tuple({n: s * leaf for n, leaf in batch.items()} for s, batch in zip(row, pair)) for row in scales]
        pairs = [
            ({**lower, "fault": fault if (i, k) == (at, step) else ""}, upper) for i, (lower, upper) in enumerate(pairs)
        ]
        return pairs[0] if tasks == 1 else boat.Tasks(pairs)

    def lower_objective(x, y, batch):
        if batch["fault"] and os.getpid() != driver:
            strike(batch["fault"], Path(folder) / "struck")
        return network.lower_objective(x, y, {name: leaf for name, leaf in batch.items() if name != "fault"})

    return boat.Problem(network.upper_objective, lower_objective, network.upper, network.lower, batches=batches)


def strike(fault: str, file: Path) -> None:
    if fault == "error":
        raise ValueError("the user's own mistake")
    try:
        file.touch(exist_ok=False)
    except FileExistsError:
        return
    if fault == "memory":
        raise MemoryError
    os.kill(os.getpid(), signal.SIGKILL if fault == "kill" else signal.SIGSTOP)
