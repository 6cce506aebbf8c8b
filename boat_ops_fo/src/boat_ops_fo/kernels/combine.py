"""Gradients combined: with given weights (barriers, penalties), or with the multiplier that a barrier asks for."""

from __future__ import annotations

from pathlib import Path

from boat_core import dot, kernel

SOURCE = Path(__file__).with_name("combine.cu")


@kernel(SOURCE, like=("first",))
def combination(first, *rest):
    """Σ w_i v_i over up to 6 vectors, given as v_1 … v_n and then w_1 … w_n"""
    n = (1 + len(rest)) // 2
    total = rest[n - 1] * first
    for vector, weight in zip(rest[: n - 1], rest[n:]):
        total = total + weight * vector
    return (total,)


def weighted(*terms):
    """Σ w v, given as pairs (w, v)."""
    weights, vectors = zip(*terms)
    return combination(*vectors, *weights)[0]


@kernel(SOURCE, like=("F",), results=3)
def multiplier(F, q, u1, value, of_value):
    """∇F + λ∇q; ‖∇q‖², ⟨∇F, ∇q⟩, λ = max(0, (φ - ⟨∇F, ∇q⟩)/‖∇q‖²), φ = u₁ ‖∇q‖² or u₁ q; ∇q = 0 gives λ = 0"""
    qq, Fq = dot(q, q), dot(F, q)
    phi = u1 * (value if of_value else qq)
    # max(NaN, 0) is NaN in this order: a NaN must reach the check of the direction.
    weight = 0.0 if qq == 0 else max((phi - Fq) / qq, 0.0)
    return F + weight * q, qq, Fq, weight
