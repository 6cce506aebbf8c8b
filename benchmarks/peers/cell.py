"""One cell, in the environment of its system: `python cell.py SYSTEM WORK STEPS WIDTH DTYPE REPETITIONS` prints JSON.

SYSTEM is a module of this folder, with `/variant` if it has several. SYSTEM alone prints the variants of the module.
"""

from __future__ import annotations

import importlib
import json
import platform
import resource
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import work as works

#: Seconds after which a cell does not repeat again, and of a call that needs no second warm-up.
ENOUGH, LONG = 3.0, 2.0


def describe(module: ModuleType) -> dict[str, Any]:
    versions = {name: metadata.version(name) for name in module.PACKAGES}
    python = {"Python": platform.python_version()}
    return {"name": module.NAME, "variants": module.VARIANTS, "notes": module.NOTES, "versions": python | versions}


def measure(module: ModuleType, variant: str, work: works.Work, repetitions: int) -> dict[str, Any]:
    """What a hypergradient is and costs; what compiling took and left in memory, where the system can tell."""
    once = module.build(work, variant)
    memory = Memory()
    compiled = left = None
    if hasattr(once, "compile"):
        compiled = timed(once.compile)
        left = memory.now()
    begin = time.perf_counter()
    value = once()
    first = time.perf_counter() - begin + (compiled or 0.0)
    if hasattr(once, "compiled"):
        compiled = once.compiled()
    return {
        "value": works.compared(value),
        "ms": repeated(once, repetitions) if repetitions else [],
        "first": first,
        "compile": compiled,
        "compile_megabytes": left,
        "megabytes": memory.peak(),
        "memory_by": memory.how,
    }


def repeated(once: Callable[[], Any], repetitions: int) -> list[float]:
    """Return the milliseconds of warm calls. Long calls are repeated less often."""
    if timed(once) < LONG:
        once()
    times: list[float] = []
    while len(times) < repetitions and sum(times) < 1e3 * ENOUGH:
        times.append(1e3 * timed(once))
    return times


def timed(action: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


class Memory:
    """Megabytes of this process beyond what it had when this was made."""

    def __init__(self) -> None:
        try:
            Path("/proc/self/clear_refs").write_text("5")
            self.how, self.base = "VmHWM", status("VmRSS")
        except OSError:
            self.how, self.base = "ru_maxrss", high_water()

    def peak(self) -> float:
        return ((status("VmHWM") if self.how == "VmHWM" else high_water()) - self.base) / 1024

    def now(self) -> float | None:
        return (status("VmRSS") - self.base) / 1024 if self.how == "VmHWM" else None


def status(field: str) -> int:
    """Kilobytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def high_water() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    system, *cell = sys.argv[1:]
    name, _, variant = system.partition("/")
    module = importlib.import_module(name)
    if cell:
        work, steps, width, dtype, repetitions = cell
        drawn = works.make(work, int(steps), int(width), dtype)
        print(json.dumps(measure(module, variant, drawn, int(repetitions))))
    else:
        print(json.dumps(describe(module)))


if __name__ == "__main__":
    main()
