"""Adagrad: divides each step by the root of the sum of all squared gradients so far.

    v ← v + g²   (v₀ = `initial`)        y ← y - η g / (√v + ε)

Source: Duchi, Hazan and Singer, JMLR 12, 2011, figure 1, with diagonal matrices; their δ is our ε. PyTorch also adds ε
to the root. optax adds ε to v, and v₀ = 0.1 is its default. The paper gives no step size; η = 0.01 is PyTorch's. At v =
0 the derivative of √ is taken as 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..autodiff.arrays import safe_sqrt
from ..declare.options import option
from .base import UpdateRule


@dataclass(frozen=True)
class Options:
    rate: float = option(1e-2, gt=0, varies=True, doc="step size η")
    epsilon: float = option(1e-10, gt=0, varies=True, doc="ε, added to the root of the sum")
    initial: float = option(0.0, ge=0, varies=True, doc="v₀, the initial value of the sum")


def slots(o: Any) -> tuple[str, ...]:
    return "count", "v"


def step(o: Any, t: float, g: Any, y: Any, s: Any) -> tuple[Any, dict[str, Any]]:
    before = s.v + o.initial if t == 1 else s.v
    v = before + g * g
    return -o.rate * (g / (safe_sqrt(v) + o.epsilon)), {"v": v}


adagrad = UpdateRule(
    "adagrad", "steps divided by the root of the sum of squares", "Duchi et al., JMLR 12, 2011", Options, slots, step
)
