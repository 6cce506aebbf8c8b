"""Hypergradients by BOAT and by its peers, side by side in one run: time, memory, first call, error.

    python benchmarks/peers [--works mlp conv] [--quick] [--write docs/benchmark.md] [--plot docs/benchmark.png]

Run it with the Python of our environment. It starts the peers in their own environments, which `make peers` creates.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for what all benchmarks share

from picture import plot
from report import document, line, write
from rounds import REPETITIONS, ROUNDS, Cell, Row, play
from systems import discover, pythons

#: One step of a net of a million parameters, as in T1-T2 (Luketina et al., 2016).
T1T2 = Cell("mlp", 1, 104)
CELLS = {
    "mlp": [*(Cell("mlp", steps) for steps in (1, 10, 50, 200, 1000)), Cell("mlp", 50, 4), Cell("mlp", 50, 16), T1T2],
    "conv": [Cell("conv", steps) for steps in (1, 10, 50)],
    "attention": [Cell("attention", steps) for steps in (1, 10, 50)],
    "ridge_cg": [Cell("ridge_cg", 1, width) for width in (1, 100)],
    "ridge_ns": [Cell("ridge_ns", 1, width) for width in (1, 100)],
    "maml": [Cell("maml", steps) for steps in (1, 5)],
    "few_shot": [Cell("few_shot", 5)],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--works", nargs="+", choices=CELLS, default=list(CELLS), metavar="WORK", help=", ".join(CELLS))
    parser.add_argument("--steps", nargs="+", type=int, metavar="T", help="the cells with these numbers of lower steps")
    parser.add_argument("--quick", action="store_true", help="the small cells alone, one round of three calls")
    parser.add_argument("--write", type=Path, help="put the tables between the markers of this Markdown file")
    parser.add_argument("--plot", type=Path, help="draw the picture")
    parser.add_argument("--torch", type=Path, metavar="PYTHON", help="the interpreter with the peers on PyTorch")
    parser.add_argument("--jax", type=Path, metavar="PYTHON", help="the interpreter with the peers on JAX")
    arguments = parser.parse_args()

    begin = time.monotonic()
    systems = discover(pythons(arguments.torch, arguments.jax))
    rounds, repetitions = (1, 3) if arguments.quick else (ROUNDS, REPETITIONS)
    rows: list[Row] = []
    for cell in (cell for work in arguments.works for cell in CELLS[work]):
        if arguments.quick and (cell.steps > 10 or cell.width > 1):
            continue
        if arguments.steps and cell.steps not in arguments.steps:
            continue
        played = play(cell, systems, rounds, repetitions)
        print(*(f"{cell.work:<9}{line(row, played)}" for row in played), sep="\n", flush=True)
        rows += played

    text = document(rows, systems, call(arguments), (time.monotonic() - begin) / 60, rounds)
    if arguments.plot:
        plot(arguments.plot, rows)
    if arguments.write:
        if arguments.plot:
            place = os.path.relpath(arguments.plot, arguments.write.parent)
            text = f"![Time and memory]({place})\n\n{text}"
        write(arguments.write, text)
    else:
        print(f"\n{text}")


def call(arguments: argparse.Namespace) -> str:
    """Return the command line without the paths of this machine's environments."""
    words = sys.argv[1:]
    for option in ("--torch", "--jax"):
        words = [word for place, word in enumerate(words) if option not in (word, *words[max(place - 1, 0) : place])]
        words = [word for word in words if not word.startswith(f"{option}=")]
    return " ".join(["python benchmarks/peers", *words])


if __name__ == "__main__":
    main()
