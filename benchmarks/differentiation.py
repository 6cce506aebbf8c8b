"""Error and time of each way to differentiate, on a ridge regression whose derivative is known in closed form.

y(x) = argmin over y of ½ ‖A y - b‖² / n + ½ Σ_j exp(x_j) y_j²        F(x) = ½ ‖A' y - b'‖² / n'

python benchmarks/differentiation.py [--write docs/differentiation.md]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boat_core as boat

import jittor as jt  # isort: skip
import numpy as np
from machine import machine

ROWS, FEATURES, REPEATS = 200, 50, 5
BEGIN, END = "<!-- modes: begin -->", "<!-- modes: end -->"


@dataclass(frozen=True)
class Ridge:
    """G = AᵀA/n and m = Aᵀb/n for training, the rows themselves for validation, log penalties x."""

    G: np.ndarray
    m: np.ndarray
    A: np.ndarray
    b: np.ndarray
    x: np.ndarray

    @classmethod
    def drawn(cls, seed: int = 0) -> Ridge:
        rng = np.random.default_rng(seed)
        A, held = rng.normal(size=(2, ROWS, FEATURES)) * np.linspace(0.3, 1.5, FEATURES)
        weights = rng.normal(size=FEATURES) * (np.arange(FEATURES) < 10)
        b, target = (rows @ weights + 0.5 * rng.normal(size=ROWS) for rows in (A, held))
        return cls(A.T @ A / ROWS, A.T @ b / ROWS, held, target, rng.uniform(-4, 0, FEATURES))

    def solution(self, x: np.ndarray) -> np.ndarray:
        return np.linalg.solve(self.G + np.diag(np.exp(x)), self.m)

    def value(self, x: np.ndarray) -> float:
        return float(0.5 * np.mean((self.A @ self.solution(x) - self.b) ** 2))

    def truth(self) -> np.ndarray:
        y = self.solution(self.x)
        g = self.A.T @ (self.A @ y - self.b) / ROWS
        return -np.linalg.solve(self.G + np.diag(np.exp(self.x)), g) * np.exp(self.x) * y


def modes(ridge: Ridge) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """Name, settings, and a function that returns the hypergradient."""
    G, m, A, b = (jt.array(a, dtype="float64") for a in (ridge.G, ridge.m, ridge.A, ridge.b))

    def residual(y: Any, x: Any) -> Any:
        return (G @ y.unsqueeze(1)).squeeze(1) + jt.exp(x) * y - m

    def F(y: Any) -> Any:
        error = (A @ y.unsqueeze(1)).squeeze(1) - b
        return 0.5 * (error * error).mean()

    largest = float(np.linalg.eigvalsh(ridge.G + np.diag(np.exp(ridge.x)))[-1])
    start = np.zeros(FEATURES)
    for steps in (10, 100, 1000):

        def explicit(steps: int = steps) -> Any:
            unrolled = boat.unroll(lambda t, y, x: y - residual(y, x) / largest, start, ridge.x, steps)
            return unrolled.pullback(boat.value_and_grad(F)(unrolled.end)[1])[1]

        yield "explicit, `unroll`", f"T = {steps}", explicit
    solvers = {
        "conjugate_gradient": boat.conjugate_gradient(max_iterations=500, tolerance=1e-10),
        "normal_cg": boat.normal_cg(max_iterations=5000, tolerance=1e-10),
        "bicgstab": boat.bicgstab(max_iterations=500, tolerance=1e-10),
        "gmres": boat.gmres(max_iterations=500, tolerance=1e-10),
        "neumann": boat.neumann(5000, step_size=1 / largest, tolerance=1e-10),
        "direct": boat.direct(),
    }
    for name, solver in solvers.items():
        fit = boat.custom_root(residual, solver, numpy=True, strict=True)(lambda start, x: ridge.solution(x))

        def implicit(fit: Any = fit) -> Any:
            return boat.value_and_grad(lambda x: F(fit(None, x)))(ridge.x)[1]

        yield "implicit, `custom_root`", f"`{name}`", implicit
    for samples in (100, 1000):
        smoothed = boat.es_grad(samples=samples, sigma=1e-3, numpy=True)(ridge.value)

        def zero_order(smoothed: Any = smoothed) -> Any:
            return boat.value_and_grad(smoothed)(ridge.x)[1]

        yield "zero-order, `es_grad`", f"{samples} samples", zero_order


def table() -> str:
    ridge, rows = Ridge.drawn(), []
    truth = ridge.truth()
    for name, settings, compute in modes(ridge):
        found, times = compute().numpy(), []
        for _ in range(REPEATS):
            begin = time.perf_counter()
            compute().sync()
            times.append(1e3 * (time.perf_counter() - begin))
        error = float(np.linalg.norm(found - truth) / np.linalg.norm(truth))
        rows.append(f"| {name} | {settings} | {error:.1e} | {statistics.median(times):.1f} |")
    return "\n".join(
        [
            f"The problem is a ridge regression with {FEATURES} penalties and {ROWS} rows in float64, whose"
            f" hypergradient has a closed form. Times are medians of {REPEATS} on {machine()}, by `python"
            " benchmarks/differentiation.py --write docs/differentiation.md`. The implicit and zero-order modes start"
            " from numpy's exact solution, so that their error is their own. The explicit mode descends from zero.",
            "",
            "| mode | | relative error | ms |",
            "|---|---|--:|--:|",
            *rows,
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table between the marks of this file")
    path = parser.parse_args().write
    found = table()
    print(found)
    if path:
        before, _, rest = path.read_text("utf-8").partition(BEGIN)
        path.write_text(f"{before}{BEGIN}\n{found}\n{END}{rest.partition(END)[2]}", "utf-8")


if __name__ == "__main__":
    main()
