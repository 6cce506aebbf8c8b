"""RMSprop: divides each step by the root of the mean square. It has a centred form, and a form with momentum.

    v ← ρ v + (1-ρ) g²        d = η g / √(v + ε)        y ← y - d        (momentum: b ← μ b + d, y ← y - b)
    centred, where m is the mean gradient:   v ← ρ v + ρ(1-ρ) (g - m)²        m ← ρ m + (1-ρ) g

Source: Hinton, lecture 6e of Neural Networks for Machine Learning, 2012 (its ρ and η are the defaults); Graves 2013,
arXiv 1308.0850, equations 38 to 45 (centred, momentum, ε inside the root). Graves subtracts m² from the mean square.
Our v is the same number, and rounding cannot make it negative. PyTorch adds ε to the root, multiplies b by η, and has
the defaults ρ = 0.99 and η = 0.01. optax does the same as we do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..declare.options import option
from .base import UpdateRule


@dataclass(frozen=True)
class Options:
    rate: float = option(1e-3, gt=0, varies=True, doc="step size η")
    decay: float = option(0.9, ge=0, lt=1, varies=True, doc="ρ, decay of the moments")
    epsilon: float = option(1e-8, gt=0, varies=True, doc="ε, added to the second moment under the root")
    momentum: float = option(0.0, ge=0, lt=1, varies=True, doc="momentum μ")
    centred: bool = option(False, doc="divide by the standard deviation instead of the root of the mean square")


def slots(o: Any) -> tuple[str, ...]:
    momentum = () if isinstance(o.momentum, float) and o.momentum == 0 else ("momentum",)
    return ("v", "m", *momentum) if o.centred else ("v", *momentum)


def step(o: Any, t: float, g: Any, y: Any, s: Any) -> tuple[Any, dict[str, Any]]:
    kept = {}
    if o.centred:
        v = o.decay * s.v + o.decay * (1 - o.decay) * ((g - s.m) * (g - s.m))
        kept["m"] = o.decay * s.m + (1 - o.decay) * g
    else:
        v = o.decay * s.v + (1 - o.decay) * (g * g)
    move = o.rate * (g / (v + o.epsilon) ** 0.5)
    if hasattr(s, "momentum"):
        move = kept["momentum"] = o.momentum * s.momentum + move
    return -move, {"v": v, **kept}


rmsprop = UpdateRule(
    "rmsprop",
    "steps divided by the root of the mean square, centred, with momentum",
    "Hinton 2012; Graves 2013, arXiv 1308.0850",
    Options,
    slots,
    step,
)
