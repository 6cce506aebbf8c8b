"""A quadratic problem twice: as JBOAT's loss functions on models, and as BOAT's objectives. Its truth is known.

    f = ½ yᵀAy - yᵀ(Bx + b)        F = ½‖y - c‖² + ⅛‖x‖²        x in R², y in R²

With one model for both levels x is the start of y, and f and F are the same with x = 0.
"""

from __future__ import annotations

from typing import Any

import jittor as jt

import boat_core as boat
from boat_core.testing import QuadraticCase

CASE = QuadraticCase(seed=3, n=2, m=2)
A, B, b, c = (jt.array(v, dtype="float64") for v in (CASE.A, CASE.B, CASE.b, CASE.c))


def _half(value: Any) -> Any:
    return boat.scaled(0.5, value)


def _times(matrix: Any, vector: Any) -> Any:
    return (matrix * vector.reshape((1, -1))).sum(dim=1)


def _f(x: Any, y: Any) -> Any:
    linear = b if x is None else _times(B, x) + b
    return _half((y * _times(A, y)).sum()) - (y * linear).sum()


def _F(x: Any, y: Any) -> Any:
    distance = _half(((y - c) * (y - c)).sum())
    return distance if x is None else distance + boat.scaled(0.125, (x * x).sum())


# As JBOAT's loss functions


def lower(ll_feed_dict: Any, upper_model: Any, lower_model: Any, weights: float = 0.0, **kwargs: Any) -> Any:
    return _f(upper_model(), lower_model(**kwargs))


def upper(ul_feed_dict: Any, upper_model: Any, lower_model: Any, weights: float = 0.0, **kwargs: Any) -> Any:
    return _F(upper_model(), lower_model(**kwargs))


def aggregate(
    ll_feed_dict: Any, ul_feed_dict: Any, upper_model: Any, lower_model: Any, weights: float = 0.0, **kwargs: Any
) -> Any:
    alpha = ll_feed_dict["alpha"]
    f, F = (loss({}, upper_model, lower_model, **kwargs) for loss in (lower, upper))
    return boat.scaled(alpha, F) + boat.scaled(1 - alpha, f)


def meta_lower(ll_feed_dict: Any, upper_model: Any, lower_model: Any, weights: float = 0.0, **kwargs: Any) -> Any:
    return _f(None, lower_model(**kwargs))


def meta_upper(ul_feed_dict: Any, upper_model: Any, lower_model: Any, weights: float = 0.0, **kwargs: Any) -> Any:
    return _F(None, lower_model(**kwargs))


def meta_aggregate(
    ll_feed_dict: Any, ul_feed_dict: Any, upper_model: Any, lower_model: Any, weights: float = 0.0, **kwargs: Any
) -> Any:
    alpha = ll_feed_dict["alpha"]
    f, F = (loss({}, upper_model, lower_model, **kwargs) for loss in (meta_lower, meta_upper))
    return boat.scaled(alpha, F) + boat.scaled(1 - alpha, f)


# As BOAT's objectives


def bilevel(meta: bool = False) -> boat.Problem:
    """Return the problem without the layer."""
    return boat.Problem(
        lambda x, y, batch: _F(None if meta else x[0], y[0]),
        lambda x, y, batch: _f(None if meta else x[0], y[0]),
        upper=[CASE.y if meta else CASE.x],
        lower=[CASE.y],
    )
