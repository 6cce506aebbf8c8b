"""Bilevel problems with known solutions, on which `solvers.py` measures every solver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import boat_core as boat
from boat_core.testing import QuadraticCase

import jittor as jt  # isort: skip
import numpy as np


class Quadratic(QuadraticCase):
    """f = ½ yᵀAy - yᵀ(Bx + b), F = ½‖y - c‖² + ½ρ‖x‖²."""

    def hypergradient(self) -> np.ndarray:
        """Return dF(x, y*(x))/dx at the start."""
        return self.implicit_hypergradient(self.solution(self.x))


class Start:
    """f = ½ (y - b)ᵀA(y - b), F = ½‖y - c‖², y_0 = x: y_T(x) = b + D(x - b), D = (I - ηA)^T. Its minimum is 0."""

    def __init__(self, steps: int, rate: float, n: int = 3) -> None:
        rng = np.random.default_rng(0)
        root = rng.normal(size=(n, n))
        A = root @ root.T / n + np.eye(n)
        self.b, self.x = rng.normal(size=n), rng.normal(size=n)
        self.c = self.b + 0.2 * rng.normal(size=n)
        self.decay = np.linalg.matrix_power(np.eye(n) - rate * A, steps)
        A_, b, c = (jt.array(v, dtype="float64") for v in (A, self.b, self.c))

        def lower(x: Any, y: Any, batch: Any) -> Any:
            return ((y - b) * (A_ * (y - b)).sum(dim=1)).sum() / 2

        self.problem = boat.Problem(lambda x, y, batch: ((y - c) * (y - c)).sum() / 2, lower, self.x, self.x)

    def error(self, x: np.ndarray) -> np.ndarray:
        return self.b + self.decay @ (x - self.b) - self.c

    def excess(self, x: np.ndarray) -> float:
        return float(np.sum(self.error(x) ** 2) / 2)

    def hypergradient(self) -> np.ndarray:
        return self.decay @ self.error(self.x)


class Residual:
    """f = ½ (y - ⟨w, x⟩ - b)², F = ½(y - c)² + ½ρ‖x‖², y one number."""

    rho = 0.25

    def __init__(self, n: int = 4) -> None:
        rng = np.random.default_rng(0)
        self.w, self.x = rng.normal(size=n), rng.normal(size=n)
        self.b, self.c = rng.normal(), rng.normal()
        w = jt.array(self.w, dtype="float64")

        def lower(x: Any, y: Any, batch: Any) -> Any:
            residual = y.sum() - (w * x).sum() - float(self.b)
            return residual * residual / 2

        def upper(x: Any, y: Any, batch: Any) -> Any:
            return ((y - float(self.c)) * (y - float(self.c))).sum() / 2 + (x * x).sum() * (self.rho / 2)

        self.problem = boat.Problem(upper, lower, self.x, rng.normal(size=1))

    def value(self, x: np.ndarray) -> float:
        return float((self.w @ x + self.b - self.c) ** 2 / 2 + self.rho / 2 * x @ x)

    def excess(self, x: np.ndarray) -> float:
        best = (self.c - self.b) / (self.w @ self.w + self.rho) * self.w
        return self.value(x) - self.value(best)

    def hypergradient(self) -> np.ndarray:
        return self.rho * self.x + (self.w @ self.x + self.b - self.c) * self.w


# The counterexample: x, y1, y2 in Rⁿ, f = ½‖y1‖² - ⟨x, y1⟩ leaves y2 free; the solution is x = y1 = y2 = e


def counterexample(n: int = 2) -> boat.Problem:
    def upper(x: Any, y: Any, batch: Any) -> Any:
        return ((x - y["y2"]) * (x - y["y2"])).sum() / 2 + ((y["y1"] - 1.0) * (y["y1"] - 1.0)).sum() / 2

    def lower(x: Any, y: Any, batch: Any) -> Any:
        return (y["y1"] * y["y1"]).sum() / 2 - (x * y["y1"]).sum()

    return boat.Problem(upper, lower, np.zeros(n), {"y1": np.zeros(n), "y2": np.zeros(n)})


# Many lower minima: F = (x - a)² + (y - a - c)², f = sin(x + y - c), as in Liu et al. (BVFIM), ICML 2021, with n = 1


@dataclass(frozen=True)
class ManyMinima:
    """The lower minima are y = c - x - π/2 + 2kπ; on branch k F is least at x = kπ - π/4, where it is 2(x - a)².

    So the optimistic solution is on the branch whose x is nearest to a. Descent on f stays on the branch of its start.
    """

    a: float = 2.0
    c: float = 2.0

    @property
    def solution(self) -> np.ndarray:
        k = round((self.a + np.pi / 4) / np.pi)
        return np.array([k * np.pi - np.pi / 4, self.c - np.pi / 4 + k * np.pi])

    def problem(self, x: float, y: float) -> boat.Problem:
        a, c = self.a, self.c
        return boat.Problem(
            lambda x, y, batch: ((x - a) * (x - a) + (y - a - c) * (y - a - c)).sum(),
            lambda x, y, batch: jt.sin(x + y - c).sum(),
            np.array([x]),
            np.array([y]),
        )
