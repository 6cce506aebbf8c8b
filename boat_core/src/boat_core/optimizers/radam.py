"""RAdam: Adam with a rectified step size while its second moment has seen few gradients.

    m, v as in `adam`        ρ∞ = 2/(1-β₂) - 1        ρ = ρ∞ - 2t β₂ᵗ/(1-β₂ᵗ)
    ρ > 5:   y ← y - η r m̂ √(1-β₂ᵗ) / (√v + ε),   r = √( (ρ-4)(ρ-2)ρ∞ / ((ρ∞-4)(ρ∞-2)ρ) )
    else:    y ← y - η m̂

Source: Liu et al., ICLR 2020, arXiv 1908.03265, algorithm 2. The paper's threshold is 4; the authors' code, PyTorch and
optax use 5. The paper has no ε. Our ε stands where the authors' code and PyTorch have it; optax adds ε to √v̂. Whether
ρ > 5 depends on β₂ and changes in a jump; its derivative is taken as 0. At v = 0 the derivative of √ is taken as 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..autodiff.arrays import as_array, safe_sqrt, select
from ..declare.options import option
from .base import UpdateRule, power


@dataclass(frozen=True)
class Options:
    rate: float = option(1e-3, gt=0, varies=True, doc="step size η")
    beta1: float = option(0.9, ge=0, lt=1, varies=True, doc="β₁, decay of the first moment")
    beta2: float = option(0.999, ge=0, lt=1, varies=True, doc="β₂, decay of the second moment")
    epsilon: float = option(1e-8, gt=0, varies=True, doc="ε, added to the root of the second moment")
    threshold: float = option(5.0, ge=4, doc="the ρ above which steps are adaptive")


def slots(o: Any) -> tuple[str, ...]:
    return "count", "m", "v"


def step(o: Any, t: float, g: Any, y: Any, s: Any) -> tuple[Any, dict[str, Any]]:
    m = o.beta1 * s.m + (1 - o.beta1) * g
    v = o.beta2 * s.v + (1 - o.beta2) * (g * g)
    m_hat = m / (1 - power(o.beta1, t))
    adaptive, r = rectified(o.beta2, t, o.threshold)
    if not isinstance(r, float):
        r = r.cast(str(g.dtype))
    scale = select(adaptive, r / (safe_sqrt(v) + o.epsilon), 1.0, g)
    return -o.rate * m_hat * scale, {"m": m, "v": v}


def rectified(beta2: Any, t: float, threshold: float) -> tuple[Any, Any]:
    """Return whether ρ > threshold, and the factor r √(1-β₂ᵗ). If ρ <= threshold, the factor is some finite number."""
    if not isinstance(beta2, float):  # ρ is a small difference of large numbers: float32 would miss the threshold
        beta2 = as_array(beta2.cast("float64"), "radam.beta2")
    known = 1 - power(beta2, t)
    limit = 2 / (1 - beta2) - 1
    rho = limit - 2 * t * power(beta2, t) / known
    adaptive = rho > threshold
    rho, limit = select(adaptive, rho, 6.0, rho), select(adaptive, limit, 8.0, limit)
    r_squared = (rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho)
    return adaptive, (r_squared * known) ** 0.5


radam = UpdateRule("radam", "Adam with a rectified step size", "Liu et al., arXiv 1908.03265", Options, slots, step)
