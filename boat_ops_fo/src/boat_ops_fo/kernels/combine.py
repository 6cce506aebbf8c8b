"""Weighted sums of gradients. Either the caller gives the weights, or a dynamic barrier determines one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from boat_core import Vector, dot, kernel

SOURCE = Path(__file__).with_name("combine.cu")


@kernel(SOURCE, like=("first",))
def combination(first: Vector, *rest: Any) -> tuple[Vector]:
    """Σ w_i v_i over up to 6 vectors, given as v_1 … v_n and then w_1 … w_n"""
    n = (1 + len(rest)) // 2
    total = rest[n - 1] * first
    for vector, weight in zip(rest[: n - 1], rest[n:]):
        total = total + weight * vector
    return (total,)


def weighted(*terms: tuple[float, Vector]) -> Vector:
    """Return Σ w v over the pairs (w, v)."""
    weights, vectors = zip(*terms)
    return combination(*vectors, *weights)[0]


@kernel(SOURCE, like=("F",), results=3)
def multiplier(F: Vector, q: Vector, u1: float, value: float, of_value: bool) -> tuple[Vector, float, float, float]:
    """∇F + λ∇q; ‖∇q‖², ⟨∇F, ∇q⟩, λ = max(0, (φ - ⟨∇F, ∇q⟩)/‖∇q‖²), φ = u₁ ‖∇q‖² or u₁ q; ∇q = 0 gives λ = 0"""
    qq, Fq = dot(q, q), dot(F, q)
    phi = u1 * (value if of_value else qq)
    # In this order max(NaN, 0) is NaN. A NaN must reach the solver's check of the direction.
    weight = 0.0 if qq == 0 else max((phi - Fq) / qq, 0.0)
    return F + weight * q, qq, Fq, weight
