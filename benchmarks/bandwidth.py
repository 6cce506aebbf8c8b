"""How fast the kernels of our packs move memory, beside a plain copy on the same device.

    python benchmarks/bandwidth.py [--elements 16777216]

Each kernel runs on vectors of one leaf in float32. A kernel reads every input once and writes every output once; the
table gives those bytes by the time, and the share of what a copy reaches. Jittor's device is used (`use_cuda=1`).
"""

from __future__ import annotations

import argparse
import inspect
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import boat_core as boat

import jittor as jt  # isort: skip
import numpy as np
from machine import machine

REPETITIONS = 9
SOME_VECTORS = 3  # for a kernel that takes any number


def seconds(action: Callable[[], Any]) -> float:
    """The median time of an action whose arrays are waited for."""
    times = []
    for _ in range(REPETITIONS + 2):
        begin = time.perf_counter()
        results = action()
        jt.sync([leaf for made in results for leaf in getattr(made, "leaves", ())], True)
        jt.sync_all(True)
        times.append(time.perf_counter() - begin)
    return median(times[2:])


def arguments(kernel: Any, elements: int) -> tuple[list[Any], list[Any]]:
    """Positive vectors and numbers that suit every kernel's parameters."""
    rng, vectors, numbers = np.random.default_rng(0), [], []
    for parameter in inspect.signature(kernel.reference).parameters.values():
        if "Vector" not in str(parameter.annotation):
            numbers.append(0.5)
            continue
        for _ in range(SOME_VECTORS if parameter.kind is parameter.VAR_POSITIONAL else 1):
            values = rng.uniform(0.5, 1, elements).astype("float32")
            vectors.append(boat.Vector.of([values], kernel.name))
    return vectors, numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--elements", type=int, default=1 << 24)
    elements = parser.parse_args().elements
    source = jt.array(np.ones(elements, "float32"))

    def copy() -> list[Any]:
        made = source.copy()
        made.sync(True)
        return []

    speed = 8 * elements / seconds(copy)
    print(f"{elements:,} float32 numbers a vector, {'CUDA' if jt.flags.use_cuda else machine()}\n")
    print("| kernel | GB/s | of a copy |\n|---|--:|--:|")
    print(f"| copy | {speed / 1e9:.1f} | 1.00 |")
    ours = [entry for entry in boat.installed().entries if entry.distribution.startswith("boat-ops-")]
    kernels = {kernel.name: kernel for entry in ours for kernel in entry.operation.kernels}
    for name, kernel in sorted(kernels.items()):
        vectors, numbers = arguments(kernel, elements)
        if not kernel.available:
            print(f"| {name} | not compiled | |")
            continue
        made = kernel(*vectors, *numbers)
        moved = 4 * elements * (len(vectors) + sum(isinstance(each, boat.Vector) for each in made))
        rate = moved / seconds(lambda: kernel(*vectors, *numbers))  # noqa: B023
        print(f"| {name} | {rate / 1e9:.1f} | {rate / speed:.2f} |", flush=True)


if __name__ == "__main__":
    main()
