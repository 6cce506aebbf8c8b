"""How long `boat ops list` takes, in ratios to a bare Python.

    python benchmarks/startup.py [--rounds 15]

It is measured with all packs of this environment, and with 0, 4 and 50 packs of one operation each. Those are really
installed, as unpacked wheels in a folder on Python's path. The packs of this environment are then switched off, so that
their import is not counted, though finding their metadata is. Rounds alternate. Python caches bytecode, as it does for
users: with `PYTHONDONTWRITEBYTECODE` every start would compile all sources.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

PLUGIN = """\
from dataclasses import dataclass
from boat_core import Cost, Hypergradient, Operation, hookimpl, option

BOAT_HOOK_API = 1


@dataclass(frozen=True)
class Options:
    damping: float = option(0.1, ge=0, doc="of nothing")


def estimate(trajectory, options):
    return Hypergradient(trajectory.end.direct)


@hookimpl
def boat_approximate_operations():
    cost = lambda options, work: Cost(gradients=1)
    return [Operation("MINE{k}", "approximate", "estimator", "s", "f", "t", apply=estimate, options=Options, cost=cost)]
"""


def install(folder: Path, count: int) -> None:
    for k in range(count):
        package, info = folder / f"many_{k}", folder / f"many_{k}-1.0.dist-info"
        package.mkdir(parents=True), info.mkdir()
        (package / "__init__.py").write_text("")
        (package / "plugin.py").write_text(PLUGIN.replace("{k}", str(k)))
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: many-{k}\nVersion: 1.0\nRequires-Dist: boat-core<1\n"
        )
        (info / "entry_points.txt").write_text(f"[boat]\nmany = many_{k}.plugin\n")


def environment(path: Path, disabled: str = "") -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    places = os.pathsep.join(filter(None, (str(path), os.environ.get("PYTHONPATH", ""))))
    return {**kept, "PYTHONPATH": places, "BOAT_DISABLE_PLUGINS": disabled, "PYTHONWARNINGS": "ignore"}


def seconds(environment: dict[str, str], *command: str) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, *command], env=environment, check=True, capture_output=True)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        places = {count: Path(folder) / str(count) for count in (0, 4, 50)}
        for count, place in places.items():
            install(place, count)
        own = ",".join({point.dist.name for point in importlib.metadata.entry_points(group="boat")})
        listing = ("-m", "boat_core", "ops", "list")
        commands = {"python -c pass": (environment(places[0]), "-c", "pass")}
        commands |= {"all packs here": (environment(places[0]), *listing)}
        commands |= {f"{n} packs": (environment(place, own), *listing) for n, place in places.items()}
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds + 1):
            for name, command in commands.items():
                taken[name].append(seconds(*command))
    print(f"median of {rounds} alternating rounds, after one to warm the file cache\n")
    bare = median(taken["python -c pass"][1:])
    for name, times in taken.items():
        middle = median(times[1:])
        print(f"{name:<15} {1000 * middle:6.0f} ms   {middle / bare:5.1f} × a bare Python")


if __name__ == "__main__":
    main()
