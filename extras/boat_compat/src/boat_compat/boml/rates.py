"""Rates of their own for all parameters, which may be of either sign: Meta-SGD learns them with the start.

    y ← y - a ∘ ∇f(y)        a has the shape of y

Source: Li et al. (Meta-SGD), 2017, arXiv 1707.09835, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from boat_core import UpdateRule, option


@dataclass(frozen=True)
class Options:
    rate: float = option(varies=True, doc="step sizes a, of either sign: a number, or arrays like the parameters")


def _step(o: Any, t: float, g: Any, y: Any, s: Any) -> tuple[Any, dict[str, Any]]:
    return -o.rate * g, {}


meta_sgd = UpdateRule(
    "meta_sgd",
    "gradient descent, each entry with a rate of its own, of either sign",
    "Li et al. (Meta-SGD) 2017, arXiv 1707.09835",
    Options,
    lambda o: (),
    _step,
    plain=lambda o: True,
)


def initial_rates(
    parameters: Mapping[str, Any], low: float, high: float | None = None, seed: int = 0
) -> dict[str, Any]:
    """Return one rate for each entry of the parameters.

    Args:
        parameters: Arrays by name.
        low, high: The rates are drawn uniformly from this interval, as in the paper. Without `high` all are `low`.
        seed: The seed of the draw.

    Returns:
        Numpy arrays by name, with the shapes and dtypes of the parameters.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    rates = {}
    for name, value in parameters.items():
        shape, dtype = tuple(value.shape), str(value.dtype)
        drawn = np.full(shape, low) if high is None else rng.uniform(low, high, shape)
        rates[name] = drawn.astype(dtype)
    return rates
