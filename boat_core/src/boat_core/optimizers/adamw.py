"""AdamW: Adam with a weight decay that does not enter the moments of the gradient.

    y ← y - η (m̂ / (√v̂ + ε) + λ y),   m̂ and v̂ as in `adam`, with AMSGrad too

Source: Loshchilov and Hutter, ICLR 2019, arXiv 1711.05101, algorithm 2, whose λ is our η λ: like PyTorch and optax, we
multiply the decay by the step size. The default λ = 0.01 is PyTorch's (optax: 1e-4). At v = 0 the derivative of √ is
taken as 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..declare.options import option
from .adam import adam, slots
from .base import UpdateRule


@dataclass(frozen=True)
class Options:
    rate: float = option(1e-3, gt=0, varies=True, doc="step size η")
    beta1: float = option(0.9, ge=0, lt=1, varies=True, doc="β₁, decay of the first moment")
    beta2: float = option(0.999, ge=0, lt=1, varies=True, doc="β₂, decay of the second moment")
    epsilon: float = option(1e-8, gt=0, varies=True, doc="ε, added to the root of the second moment")
    weight_decay: float = option(1e-2, ge=0, varies=True, doc="λ, the decay of y in a step is η λ y")
    amsgrad: bool = option(False, doc="divide by the largest second moment so far (AMSGrad)")


def step(o: Any, t: float, g: Any, y: Any, s: Any) -> tuple[Any, Mapping[str, Any]]:
    move, kept = adam.step(o, t, g, y, s)
    return move - o.rate * o.weight_decay * y, kept


adamw = UpdateRule(
    "adamw",
    "Adam with decoupled weight decay",
    "Loshchilov and Hutter, ICLR 2019, arXiv 1711.05101",
    Options,
    slots,
    step,
)
