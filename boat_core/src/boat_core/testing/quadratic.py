"""A random quadratic bilevel problem whose hypergradients are known in closed form.

f = ½ yᵀAy - yᵀ(Bx + b)        F = ½‖y - c‖² + ½ρ‖x‖²        A symmetric positive definite
"""

from __future__ import annotations

from typing import Any

import jittor as jt
import numpy as np

from ..autodiff.arrays import as_array, constant
from ..bilevel.problem import Problem


class QuadraticCase:
    """One such problem, and its exact solution and hypergradients in numpy.

    Args:
        seed: The seed of the random matrices.
        n, m: The sizes of x and y.
        dtype: "float64" or "float32".
        nested: Whether x and y are nested pytrees instead of flat arrays. The order of the leaves is the order of the
            flat vector.
    """

    rho = 0.25

    def __init__(self, seed: int = 0, n: int = 4, m: int = 3, dtype: str = "float64", nested: bool = False) -> None:
        rng = np.random.default_rng(seed)
        root = rng.normal(size=(m, m))
        self.A = root @ root.T / m + np.eye(m)
        self.B = rng.normal(size=(m, n))
        self.b, self.c = rng.normal(size=m), rng.normal(size=m)
        self.x, self.y = rng.normal(size=n), rng.normal(size=m)
        A, B, b, c = (as_array(v.astype(dtype)) for v in (self.A, self.B, self.b, self.c))
        half, half_rho = constant(0.5, A), constant(0.5 * self.rho, A)

        def lower(x: Any, y: Any, batch: Any) -> Any:
            x, y = _join(x), _join(y)
            return half * (y * _times(A, y)).sum() - (y * (_times(B, x) + b)).sum()

        def upper(x: Any, y: Any, batch: Any) -> Any:
            x, y = _join(x), _join(y)
            return half * ((y - c) * (y - c)).sum() + half_rho * (x * x).sum()

        x, y = (_split(v.astype(dtype)) if nested else v.astype(dtype) for v in (self.x, self.y))
        self.problem = Problem(upper, lower, x, y, name="quadratic")

    # The truth, in numpy

    def iterates(self, steps: int, rate: float, start: np.ndarray | None = None) -> list[np.ndarray]:
        """Return y_0 … y_T of plain gradient descent from `start`, by default from the problem's y."""
        ys = [self.y if start is None else start]
        for _ in range(steps):
            ys.append(ys[-1] - rate * self.lower_gradient(ys[-1]))
        return ys

    def lower_value(self, y: np.ndarray) -> float:
        """Return f(x, y)."""
        return float(0.5 * y @ self.A @ y - y @ (self.B @ self.x + self.b))

    def upper_value(self, y: np.ndarray) -> float:
        """Return F(x, y)."""
        return float(0.5 * np.sum((y - self.c) ** 2) + 0.5 * self.rho * np.sum(self.x**2))

    def solution(self, x: np.ndarray) -> np.ndarray:
        """Return the lower solution y*(x)."""
        return np.linalg.solve(self.A, self.B @ x + self.b)

    def excess(self, x: np.ndarray) -> float:
        """Return the difference between the true upper objective F(x, y*(x)) and its minimum."""
        K, y = np.linalg.solve(self.A, self.B), self.solution(np.zeros(self.B.shape[1]))
        best = np.linalg.solve(K.T @ K + self.rho * np.eye(K.shape[1]), K.T @ (self.c - y))
        low, high = (
            0.5 * np.sum((self.solution(at) - self.c) ** 2) + 0.5 * self.rho * np.sum(at**2) for at in (best, x)
        )
        return float(high - low)

    def lower_gradient(self, y: np.ndarray) -> np.ndarray:
        """Return ∇_y f."""
        return self.A @ y - self.B @ self.x - self.b

    def upper_gradient(self, y: np.ndarray) -> np.ndarray:
        """Return g = ∇_y F."""
        return y - self.c

    def unrolled_hypergradient(
        self, steps: int, rate: float, last: int | None = None, start: np.ndarray | None = None
    ) -> np.ndarray:
        """Return ρx + Σ_t η Bᵀ (I-ηA)^(T-1-t) g over the last `last` steps, by default over all steps."""
        g = self.upper_gradient(self.iterates(steps, rate, start)[-1])
        decay = np.eye(len(g)) - rate * self.A
        powers = [np.linalg.matrix_power(decay, k) @ g for k in range(steps if last is None else last)]
        return self.rho * self.x + rate * self.B.T @ np.sum(powers, axis=0)

    def implicit_hypergradient(self, y: np.ndarray, damping: float = 0.0) -> np.ndarray:
        """Return ρx + Bᵀ (A + δI)⁻¹ g at y."""
        solved = np.linalg.solve(self.A + damping * np.eye(len(y)), self.upper_gradient(y))
        return self.rho * self.x + self.B.T @ solved


def _times(matrix: Any, vector: Any) -> Any:
    return jt.matmul(matrix, vector.reshape((-1, 1))).reshape((-1,))


def _split(values: np.ndarray) -> Any:
    return {"first": values[:1].reshape(1, 1), "rest": [values[1:2], (values[2:],)]}


def _join(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    return jt.concat([tree["first"].reshape((-1,)), tree["rest"][0], tree["rest"][1][0]])
