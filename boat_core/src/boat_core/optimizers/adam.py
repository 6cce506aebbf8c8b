"""Adam.

    m ← β₁ m + (1-β₁) g        v ← β₂ v + (1-β₂) g²        y ← y - η m̂ / (√v̂ + ε),   m̂ = m/(1-β₁ᵗ),  v̂ = v/(1-β₂ᵗ)

Source: Kingma and Ba, ICLR 2015, arXiv 1412.6980, algorithm 1. At v = 0 the derivative of √ is taken as 0: a zero
gradient then has the finite derivative of g / ε instead of NaN.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from optree import tree_map

from ..autodiff.arrays import constant, safe_sqrt, scaled, zeros_like
from ..options import option, read_options
from .base import Optimizer


@dataclass(frozen=True)
class Options:
    rate: float = option(1e-3, gt=0, doc="step size η")
    beta1: float = option(0.9, ge=0, lt=1, doc="decay of the first moment")
    beta2: float = option(0.999, ge=0, lt=1, doc="decay of the second moment")
    epsilon: float = option(1e-8, gt=0, doc="added to the root of the second moment")


def adam(rate: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> Optimizer:
    """Adam. See the module for the formula; raises `OptionError` on values out of range."""
    o = read_options(Options, {"rate": rate, "beta1": beta1, "beta2": beta2, "epsilon": epsilon}, "adam")

    def init(parameters: Any) -> Any:
        return {"count": 0, "m": tree_map(zeros_like, parameters), "v": tree_map(zeros_like, parameters)}

    def update(g: Any, state: Any, y: Any) -> tuple[Any, Any]:
        t = state["count"] + 1
        m = tree_map(lambda m, g: scaled(o.beta1, m) + scaled(1 - o.beta1, g), state["m"], g)
        v = tree_map(lambda v, g: scaled(o.beta2, v) + scaled(1 - o.beta2, g * g), state["v"], g)
        rate, correction = o.rate / (1 - o.beta1**t), 1 / (1 - o.beta2**t)

        def step(m: Any, v: Any) -> Any:
            return scaled(-rate, m) / (safe_sqrt(scaled(correction, v)) + constant(o.epsilon, v))

        return tree_map(step, m, v), {"count": t, "m": m, "v": v}

    return Optimizer("adam", init, update, rate=o.rate, options=o)


def build(options: Options) -> Optimizer:
    return adam(**asdict(options))
