"""JBOAT's 72 chains: what runs, the distance of its first hypergradient from our own solver's, and its time.

python benchmarks/jboat_chains.py

The configuration is the one that JBOAT ships for L2 regularization, the problem the quadratic of the tests in R² × R²,
in float64. Prints the table of docs/jboat.md.
"""

from __future__ import annotations

import contextlib
import io
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np

import boat_core  # noqa: F401  # before Jittor, whose start it prepares

import jittor as jt  # isort: skip

sys.path.insert(0, str(Path(__file__).parent.parent / "extras" / "boat_compat" / "tests" / "jboat_scripts"))
from jboat_material import FIRST_ORDER, L2, META, UNROLLED, Parameter, problem
from jboat_quadratic import CASE
from jboat_truth import ETA, LOSSES, META_LOSSES, RATE, left_of, own_solver

ITERATIONS = 12


def models(meta: bool) -> tuple[Parameter, Parameter]:
    lower = Parameter(CASE.y)
    return (lower if meta else Parameter(CASE.x)), lower


def row(chain: tuple[str, str] | str) -> str:
    """Return a line of the table."""
    meta = isinstance(chain, tuple) and "IAD" in chain[1]
    losses = META_LOSSES if meta else LOSSES
    built = problem(L2, losses, *models(meta), chain, (ETA, RATE))
    gradient = built.run_iter({}, {}, current_iter=0)[0][0].numpy()
    if isinstance(chain, str):
        theirs, runs, error = chain, chain, "–"
    else:
        maps, ends = left_of(*chain)
        theirs, runs = (" + ".join(chain[0].split(",")), " + ".join(chain[1].split(","))), None
        theirs, runs = " \\| ".join(theirs), f"{' + '.join(maps)} \\| {' + '.join(ends)}"
        error = "∇_x F, as v is 0"
        if "DM" not in maps:
            truth = own_solver(maps, ends, meta=meta).hypergradient().upper[0].numpy()
            error = f"{np.linalg.norm(gradient - truth) / np.linalg.norm(truth):.0e}"
    built.boat_configs["return_grad"] = False
    times = []
    for k in range(ITERATIONS):
        begin = time.perf_counter()
        built.run_iter({}, {}, current_iter=k)
        times.append(time.perf_counter() - begin)
    same = "the same" if set(runs) == set(theirs) else runs
    return f"| {theirs} | {same} | {error} | {1000 * median(times[2:]):.1f} |"


def main() -> None:
    print("| JBOAT's chain | runs as | distance | ms |\n|---|---|---|--:|")
    for chain in [*UNROLLED, *META, *FIRST_ORDER]:
        with contextlib.redirect_stdout(io.StringIO()):
            line = row(chain)
        print(line)


if __name__ == "__main__":
    with jt.flag_scope(no_fuse=1):
        main()
