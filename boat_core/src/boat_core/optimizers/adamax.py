"""Adamax: Adam with the largest recent gradient in place of the root of the mean square.

    m ← β₁ m + (1-β₁) g        u ← max(β₂ u, |g| + ε)        y ← y - η/(1-β₁ᵗ) m / u

Source: Kingma and Ba, ICLR 2015, arXiv 1412.6980, algorithm 2. The paper has no ε, and divides by 0 if every
gradient was 0. Our ε stands where PyTorch and optax have it. The derivative of |g| at 0 is taken as 0. If both sides of
the maximum are equal, the derivative is that of the right side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..autodiff.arrays import select, sign
from ..declare.options import option
from .base import UpdateRule, power


@dataclass(frozen=True)
class Options:
    rate: float = option(2e-3, gt=0, varies=True, doc="step size η")
    beta1: float = option(0.9, ge=0, lt=1, varies=True, doc="β₁, decay of the first moment")
    beta2: float = option(0.999, ge=0, lt=1, varies=True, doc="β₂, decay of the largest gradient")
    epsilon: float = option(1e-8, gt=0, varies=True, doc="ε, added to |g|")


def slots(o: Any) -> tuple[str, ...]:
    return "count", "m", "u"


def step(o: Any, t: float, g: Any, y: Any, s: Any) -> tuple[Any, dict[str, Any]]:
    m = o.beta1 * s.m + (1 - o.beta1) * g
    old, new = o.beta2 * s.u, g * sign(g) + o.epsilon
    u = select(old > new, old, new, g)
    return -o.rate / (1 - power(o.beta1, t)) * (m / u), {"m": m, "u": u}


adamax = UpdateRule(
    "adamax", "Adam by the largest gradient", "Kingma and Ba, ICLR 2015, arXiv 1412.6980", Options, slots, step
)
