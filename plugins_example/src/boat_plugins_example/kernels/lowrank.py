"""Sums and inner products of a vector with the columns of a tall, thin matrix, a few columns at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boat_core import Vector, dot, kernel

if TYPE_CHECKING:
    from numpy import ndarray as Array

MOST = 5


@kernel(Path(__file__).with_suffix(".cu"), like=("v",), results=MOST)
def plus_columns(v: Vector, *rest: Any) -> tuple[Any, ...]:
    """r = v + Σ w c over up to 5 columns, given as c_1 … c_n and then w_1 … w_n; ⟨r, c_1⟩ … ⟨r, c_n⟩, 0 …"""
    columns, weights = rest[: len(rest) // 2], rest[len(rest) // 2 :]
    for column, weight in zip(columns, weights):
        v = v + weight * column
    return v, *(dot(v, column) for column in columns), *[0.0] * (MOST - len(columns))


def plus(v: Vector, columns: Sequence[Vector], weights: Sequence[float] | Array) -> Vector:
    """Return v + Σ w c."""
    for first in range(0, len(columns), MOST):
        some = slice(first, first + MOST)
        v = plus_columns(v, *columns[some], *weights[some])[0]
    return v


def products(v: Vector, columns: Sequence[Vector]) -> list[float]:
    """Return ⟨v, c⟩ for each column c."""
    results: list[float] = []
    for first in range(0, len(columns), MOST):
        some = columns[first : first + MOST]
        results += plus_columns(v, *some, *[0.0] * len(some))[1 : 1 + len(some)]
    return results
