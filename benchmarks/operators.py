"""Measure one hypergradient with the operators of `boat_core.autodiff.operators` and without them, side by side.

    python benchmarks/operators.py [--programs mlp conv] [--first] [--profile] [--write docs/operators.md]

Each program uses Jittor's usual spellings. x holds one weight logit per training row, and F is the mean loss on another
batch. The solver is NGD | RAD with SGD and segment 1. "plain" means BOAT_NATIVE=0: Jittor's own operators, compiled in
Jittor's own way. Only the text of `conv` differs: without our operators nn.MaxPool2d has no second derivative, so the
plain network pools with nn.AdaptiveMaxPool2d. Each cell runs in a process of its own, plain and native in turns.
Absolute times depend on the machine: read the ratios.

--first measures a first hypergradient while no kernels exist yet. It compiles a Jittor core of its own, which takes
minutes, in a temporary home or in the given folder. --profile shows where the time of a hypergradient of `mlp` goes.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import platform
import pstats
import shutil
import site
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine

ROUNDS, REPETITIONS = 3, 9
SWITCH = "BOAT_NATIVE"
VARIANTS = {"plain": "0", "native": "1"}

# The programs


@dataclass(frozen=True)
class Program:
    """A network on `rows` random samples of `shape`, and the lower steps and rate of its hypergradients."""

    network: Callable[[bool], Any]
    rows: int
    shape: tuple[int, ...]
    steps: tuple[int, ...]
    rate: float = 0.1
    classes: int = 10


def mlp(native: bool, width: int = 64, hidden: int = 128, classes: int = 10) -> Any:
    from jittor import nn

    return nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, classes))


def conv(native: bool) -> Any:
    from jittor import nn

    def layer(inputs: int, outputs: int) -> list[Any]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]

    def pool(size: int) -> Any:
        return nn.MaxPool2d(2) if native else nn.AdaptiveMaxPool2d(size)

    layers = [*layer(1, 16), *layer(16, 32), pool(8), *layer(32, 32), *layer(32, 32), pool(4)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 4 * 4, 10))


def attention(native: bool) -> Any:
    from jittor import nn

    class Block(nn.Module):
        def __init__(self, width: int, heads: int) -> None:
            self.heads = heads
            self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
            self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
            self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
            self.head = nn.Linear(width, 10)

        def execute(self, x: Any) -> Any:
            x = x + self.attend(self.before(x))
            x = x + self.mlp(self.between(x))
            return self.head(x.mean(dim=1))

        def attend(self, x: Any) -> Any:
            rows, tokens, width = x.shape
            split = (rows, tokens, self.heads, width // self.heads)
            q, k, v = (part(x).reshape(split).transpose(0, 2, 1, 3) for part in (self.query, self.key, self.value))
            shares = nn.softmax(q @ k.transpose(0, 1, 3, 2) / (width // self.heads) ** 0.5, dim=-1)
            return self.out((shares @ v).transpose(0, 2, 1, 3).reshape((rows, tokens, width)))

    return Block(32, heads=4)


def batch_norm(native: bool, train: bool = True) -> Any:
    from jittor import nn

    norm = nn.BatchNorm1d(128, is_train=train)
    rng = np.random.default_rng(2)
    norm.running_mean.update(rng.normal(size=128).astype("float32"))
    norm.running_var.update(rng.uniform(0.5, 2.0, size=128).astype("float32"))
    return nn.Sequential(nn.Linear(64, 128), norm, nn.Tanh(), nn.Linear(128, 10))


PROGRAMS = {
    "mlp": Program(mlp, 512, (64,), (50, 200)),
    "conv": Program(conv, 64, (1, 16, 16), (10,)),
    "attention": Program(attention, 64, (16, 32), (10,)),
    "batch_norm": Program(batch_norm, 512, (64,), (50,)),
    "batch_norm_eval": Program(lambda native: batch_norm(native, train=False), 512, (64,), (50,)),
}
# The graph of `mlp` with next to no arithmetic.
SMALL = Program(lambda native: mlp(native, 4, 4, 4), 4, (4,), (), classes=4)
FIRST = ("mlp", 50)

# In a cell's process


def start_values(net: Any, rng: np.random.Generator, dtype: str) -> dict[str, np.ndarray]:
    """Parameters that are the same in every variant: the scales of norms are about 1, all else is small."""
    import boat_core as boat

    values = {}
    for name, value in sorted(boat.parameters(net).items()):
        shape = tuple(value.shape)
        spread = np.prod(shape[1:]) ** -0.5 if len(shape) > 1 else 0.1
        scale = float(len(shape) == 1 and name.endswith("weight"))
        values[name] = (scale + spread * rng.normal(size=shape)).astype(dtype)
    return values


def hypergradient(program: Program, steps: int, dtype: str) -> Callable[[], np.ndarray]:
    """A function that computes the hypergradient at the program's start, anew in every call."""
    import boat_core as boat

    import jittor as jt  # isort: skip
    from jittor import nn

    rng = np.random.default_rng(0)
    net = program.network(os.environ[SWITCH] != "0")
    if dtype == "float64":
        net.float64()

    def batch() -> dict[str, np.ndarray]:
        inputs = rng.normal(size=(program.rows, *program.shape)).astype(dtype)
        return {"inputs": inputs, "labels": rng.integers(0, program.classes, program.rows).astype("int32")}

    def losses(y: Any, batch: Any) -> Any:
        return nn.cross_entropy_loss(boat.call(net, y, batch["inputs"]), batch["labels"], reduction="none")

    problem = boat.Problem(
        lambda x, y, batch: losses(y, batch).mean(),
        lambda x, y, batch: (jt.sigmoid(x) * losses(y, batch)).mean(),
        np.zeros(program.rows, dtype),
        start_values(net, rng, dtype),
    )
    solver = boat.Solver(
        problem,
        map=["NGD"],
        approximate=["RAD"],
        lower_steps=steps,
        lower_optimizer=boat.sgd(program.rate),
        upper_optimizer=boat.sgd(program.rate),
        segment=1,
    )
    lower, upper = batch(), batch()
    return lambda: solver.hypergradient(lower, upper).upper.numpy()


def timed(action: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def measure(name: str, steps: int, dtype: str, repetitions: int, since: float) -> dict[str, Any]:
    """The hypergradient, its milliseconds once warm, the seconds from `since` to the first, and Jittor's cache."""
    once = hypergradient(PROGRAMS[name], steps, dtype)
    value = once()
    first = time.time() - since
    for _ in range(2 if repetitions else 0):
        once()
    times = [1e3 * timed(once) for _ in range(repetitions)]

    import jittor

    return {"value": value.tolist(), "ms": times, "first": first, "cache": jittor.compiler.cache_path}


def profile(name: str, steps: int) -> dict[str, float]:
    """Milliseconds of the parts of one hypergradient.

    Jittor's profiler sees the kernels that Jittor generated and no others. What the executor spends on the graph is
    taken from the same graph with next to no arithmetic; what is left of `sync` is the operators'.
    """
    total, sync, grad, kernels = parts(PROGRAMS[name], steps)
    executor = sync - kernels
    if os.environ[SWITCH] != "0":
        _, small_sync, _, small_kernels = parts(SMALL, steps)
        executor = small_sync - small_kernels
    return {
        "total": total,
        "Jittor's kernels": kernels,
        "operators": sync - kernels - executor,
        "Jittor's executor": executor,
        "derivatives of the graph": grad,
        "Python, building the graph": total - sync - grad,
    }


def parts(program: Program, steps: int) -> tuple[float, ...]:
    """Milliseconds of one hypergradient, of all its `sync`, of all its `grad`, and of Jittor's kernels in it."""
    once = hypergradient(program, steps, "float32")
    for _ in range(3):
        once()
    repeated = [(timed(once), *inside_jittor(once), kernel_time(once)) for _ in range(REPETITIONS)]
    return tuple(1e3 * statistics.median(column) for column in zip(*repeated))


def inside_jittor(once: Callable[[], Any]) -> tuple[float, float]:
    """Seconds in Jittor's `sync`, and in its `grad` and our `pull`; cProfile's own cost falls outside of both."""
    profiler = cProfile.Profile()
    profiler.runcall(once)
    spent = {name: own for (_, _, name), (_, _, own, _, _) in vars(pstats.Stats(profiler))["stats"].items()}
    built_in = ("jittor_core.sync", "jittor_core.grad", "boat_operators.ops.pull")
    sync, *derivatives = (spent.get(f"<built-in method {name}>", 0.0) for name in built_in)
    return sync, sum(derivatives)


def kernel_time(once: Callable[[], Any]) -> float:
    """Seconds in kernels that Jittor generated."""
    import jittor as jt

    with jt.profile_scope() as report:
        once()
    head, *rows = report
    return sum(float(row[head.index("TotalTime")]) for row in rows) / 1e9


# In the first process


def run(variant: str, *cell: str, home: Path | None = None) -> dict[str, Any]:
    """One cell in a process of its own; `home` is where it looks for Jittor's cache."""
    environment = {**os.environ, SWITCH: VARIANTS[variant]}
    if home is not None:
        # JITTOR_HOME would be written into the user's own configuration.
        environment |= {"HOME": str(home), "PYTHONUSERBASE": site.getuserbase()}
        environment.pop("JITTOR_HOME", None)
    command = [sys.executable, __file__, "--cell", *cell, str(time.time())]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{variant} {' '.join(cell)}: status {done.returncode}\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def hypergradient_rows(names: Iterable[str]) -> Iterator[tuple[str, ...]]:
    for name in names:
        for steps in PROGRAMS[name].steps:
            cell = (name, str(steps))
            cells = [(v, run(v, *cell, "float32", str(REPETITIONS))) for _ in range(ROUNDS) for v in VARIANTS]
            times = {v: [ms for variant, found in cells if variant == v for ms in found["ms"]] for v in VARIANTS}
            plain, native = (statistics.median(column) for column in times.values())
            doubles = [run(v, *cell, "float64", "0") for v in VARIANTS]
            yield (
                name,
                str(steps),
                *map(spread, times.values()),
                f"{native / plain:.2f}",
                f"{difference(*(found for _, found in cells[:2])):.1e}",
                f"{difference(*doubles):.1e}",
            )


def spread(times: Sequence[float]) -> str:
    return f"{statistics.median(times):.1f} ({min(times):.1f}–{max(times):.1f})"


def difference(plain: dict[str, Any], native: dict[str, Any]) -> float:
    """The largest difference of two hypergradients relative to the largest entry."""
    expected, found = np.array(plain["value"]), np.array(native["value"])
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def first_rows(home: Path) -> Iterator[tuple[str, ...]]:
    """From the start of the process to the end of its first hypergradient: without kernels, and with them on disk."""
    cell = (FIRST[0], str(FIRST[1]), "float32", "0")
    cache = Path(run("plain", *cell, home=home)["cache"])
    for variant, keep, what in (
        ("plain", False, "plain"),
        ("native", False, "native, all to be made"),
        ("native", True, "native, operators and header made"),
    ):
        found = []
        for _ in range(ROUNDS):
            remove_kernels(cache, keep)
            first = run(variant, *cell, home=home)["first"]
            kernels = sum(1 for _ in cache.glob("**/jit/*.so"))
            found.append((kernels, first, run(variant, *cell, home=home)["first"]))
        kernels, first, again = (statistics.mean(column) for column in zip(*found))
        yield what, f"{kernels:.0f}", f"{first:.1f}", f"{again:.1f}", f"{first - again:.1f}"


def remove_kernels(cache: Path, keep_operators: bool) -> None:
    if not keep_operators:
        for folder in cache.glob("boat-*"):
            shutil.rmtree(folder)
    for kernels in cache.glob("**/jit"):
        shutil.rmtree(kernels)
        kernels.mkdir()


def profile_rows() -> Iterator[tuple[str, ...]]:
    name, steps = FIRST
    found = {variant: run(variant, name, str(steps), "profile", "0") for variant in VARIANTS}
    for part in found["plain"]:
        cells = [f"{ms[part]:.1f} ({ms[part] / ms['total']:.0%})" for ms in found.values()]
        yield part, *cells


# The tables

TIMES = """\
Milliseconds of one hypergradient, median (least–most) of {count} in {rounds} processes each, plain and native in turns.
**float32**, **float64**: the largest difference between the two hypergradients, relative to the largest entry.
(The difference of `attention` in float64 is due to Jittor, which rounds 2/√π in the derivative of erf to float32.)"""
FIRSTS = """\
Seconds from the start of the process to the end of its first hypergradient ({name}, T = {steps}), with Jittor's core
compiled. **first**: no kernels exist yet. **again**: the next process. The difference is compilation."""
PROFILE = """\
Milliseconds of one hypergradient ({name}, T = {steps}) by part. The executor's share is measured with a program that
has the same graph and next to no arithmetic. The operators' share is the rest of `jt.sync`."""


def table(title: str, text: str, head: dict[str, int], rows: Iterable[Sequence[str]]) -> str:
    """Print a table row by row, `head` being names and widths; return it as Markdown."""

    def line(cells: Iterable[str]) -> str:
        first, *others = (cell.rjust(width) for cell, width in zip(cells, head.values()))
        return " ".join([first.strip().ljust(len(first)), *others])

    print(f"\n{title}\n{line(head)}", flush=True)
    lines = [f"| {' | '.join(head)} |", "|---|" + "--:|" * (len(head) - 1)]
    for row in rows:
        print(line(row), flush=True)
        lines.append(f"| {' | '.join(row)} |")
    return f"## {title}\n\n{text}\n\n" + "\n".join(lines) + "\n"


def times_table(names: Iterable[str]) -> str:
    head = {"program": 16, "T": 4, "plain ms": 24, "native ms": 22, "ratio": 5, "float32": 7, "float64": 7}
    text = TIMES.format(count=ROUNDS * REPETITIONS, rounds=ROUNDS)
    return table("Hypergradients", text, head, hypergradient_rows(names))


def first_table(home: Path) -> str:
    head = {"variant": 33, "kernels": 7, "first s": 7, "again s": 7, "difference s": 12}
    return table("The first one", FIRSTS.format(name=FIRST[0], steps=FIRST[1]), head, first_rows(home))


def profile_table() -> str:
    head = {"part": 26, "plain": 16, "native": 16}
    return table("Where the time goes", PROFILE.format(name=FIRST[0], steps=FIRST[1]), head, profile_rows())


def versions() -> str:
    return f"Python {platform.python_version()}, Jittor {metadata.version('jittor')}"


def document(tables: Iterable[str], options: Sequence[str]) -> str:
    about = "\n\n".join(part for part in (__doc__ or "").split("\n\n")[:3] if not part.startswith("    "))
    call = " ".join(["python benchmarks/operators.py", *options])
    return f"# The operators\n\nMade by `{call}` on {machine()}, {versions()}.\n\n{about}\n\n" + "\n".join(tables)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--programs", nargs="*", default=list(PROGRAMS), metavar="NAME", help=", ".join(PROGRAMS))
    parser.add_argument("--first", nargs="?", const="", metavar="HOME", help="also the first call, with no kernels yet")
    parser.add_argument("--profile", action="store_true", help="also where the time goes")
    parser.add_argument("--write", type=Path, help="write the tables as Markdown")
    parser.add_argument("--cell", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cell:
        name, steps, what, repetitions, since = arguments.cell
        done = profile(name, int(steps)) if what == "profile" else None
        print(json.dumps(done or measure(name, int(steps), what, int(repetitions), float(since))))
        return
    if unknown := [name for name in arguments.programs if name not in PROGRAMS]:
        parser.error(f"--programs: {', '.join(unknown)}: expected some of {', '.join(PROGRAMS)}")
    tables = [times_table(arguments.programs)] if arguments.programs else []
    if arguments.first is not None:
        with tempfile.TemporaryDirectory() as folder:
            tables.append(first_table(Path(arguments.first or folder).resolve()))
    if arguments.profile:
        tables.append(profile_table())
    if arguments.write:
        arguments.write.write_text(document(tables, sys.argv[1:]), "utf-8")


if __name__ == "__main__":
    main()
