"""Adam: adaptive step sizes from the first two moments of the gradient.

    m ← β₁ m + (1-β₁) g        v ← β₂ v + (1-β₂) g²        y ← y - η m̂ / (√v̂ + ε),   m̂ = m/(1-β₁ᵗ),  v̂ = v/(1-β₂ᵗ)
    AMSGrad:  w ← max(w, v),  v̂ = w/(1-β₂ᵗ)

Sources: Kingma and Ba, ICLR 2015, arXiv 1412.6980, algorithm 1; Reddi et al. (AMSGrad), ICLR 2018, arXiv 1904.09237,
algorithm 2. Reddi et al. correct no bias. We correct it where PyTorch does; optax takes the maximum of the corrected v̂
instead, which lets the first gradients count for longer. At v = 0 the derivative of √ is taken as 0, so that the
step at a zero gradient has the finite derivative of g / ε instead of NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..autodiff.arrays import safe_sqrt, select
from ..declare.options import option
from .base import UpdateRule, power


@dataclass(frozen=True)
class Options:
    rate: float = option(1e-3, gt=0, varies=True, doc="step size η")
    beta1: float = option(0.9, ge=0, lt=1, varies=True, doc="β₁, decay of the first moment")
    beta2: float = option(0.999, ge=0, lt=1, varies=True, doc="β₂, decay of the second moment")
    epsilon: float = option(1e-8, gt=0, varies=True, doc="ε, added to the root of the second moment")
    amsgrad: bool = option(False, doc="divide by the largest second moment so far (AMSGrad)")


def slots(o: Any) -> tuple[str, ...]:
    return ("count", "m", "v", "largest") if o.amsgrad else ("count", "m", "v")


def step(o: Any, t: float, g: Any, y: Any, s: Any) -> tuple[Any, dict[str, Any]]:
    m = o.beta1 * s.m + (1 - o.beta1) * g
    v = o.beta2 * s.v + (1 - o.beta2) * (g * g)
    kept = {"m": m, "v": v}
    if o.amsgrad:
        v = kept["largest"] = select(v > s.largest, v, s.largest, v)
    m_hat, v_hat = m / (1 - power(o.beta1, t)), v / (1 - power(o.beta2, t))
    return -o.rate * m_hat / (safe_sqrt(v_hat) + o.epsilon), kept


adam = UpdateRule("adam", "adaptive moments", "Kingma and Ba, ICLR 2015, arXiv 1412.6980", Options, slots, step)
