"""Lion: steps by the sign of a momentum.

    y ← y - η (sign(β₁ m + (1-β₁) g) + λ y)        m ← β₂ m + (1-β₂) g

Source: Chen et al., NeurIPS 2023, arXiv 2302.06675, algorithm 2; the defaults are those of the authors' code. In optax
λ = 1e-3 by default; PyTorch has no Lion. The derivative of sign is taken as 0. So y depends on its start, η and λ, but
no derivative passes through the gradients, and the dependence of the lower objective on the upper variables is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..autodiff.arrays import sign
from ..declare.options import option
from .base import UpdateRule


@dataclass(frozen=True)
class Options:
    rate: float = option(1e-4, gt=0, varies=True, doc="step size η")
    beta1: float = option(0.9, ge=0, lt=1, varies=True, doc="β₁, weight of the momentum in a step")
    beta2: float = option(0.99, ge=0, lt=1, varies=True, doc="β₂, decay of the momentum")
    weight_decay: float = option(0.0, ge=0, varies=True, doc="λ, the decay of y in a step is η λ y")


def slots(o: Any) -> tuple[str, ...]:
    return ("m",)


def step(o: Any, t: float, g: Any, y: Any, s: Any) -> tuple[Any, dict[str, Any]]:
    move = sign(o.beta1 * s.m + (1 - o.beta1) * g) + o.weight_decay * y
    return -o.rate * move, {"m": o.beta2 * s.m + (1 - o.beta2) * g}


lion = UpdateRule(
    "lion",
    "the sign of a momentum",
    "Chen et al., NeurIPS 2023, arXiv 2302.06675",
    Options,
    slots,
    step,
    by_sign=True,
)
