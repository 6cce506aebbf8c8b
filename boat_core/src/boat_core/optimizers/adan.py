"""Adan: adaptive moments with Nesterov's momentum, estimated from differences of gradients.

    δ = g - gₗ   (0 at the first step)
    m ← β₁ m + (1-β₁) g        d ← β₂ d + (1-β₂) δ        n ← β₃ n + (1-β₃) (g + β₂ δ)²
    y ← (y - η (m̂ + β₂ d̂) / (√n̂ + ε)) / (1 + λη),   m̂ = m/(1-β₁ᵗ),  d̂ = d/(1-β₂ᵗ),  n̂ = n/(1-β₃ᵗ)

Source: Xie et al., IEEE TPAMI 2024, arXiv 2208.06677, algorithm 1; its β are our 1 - β, as in the authors' code. The
bias correction also comes from that code; the paper starts m and n at the first gradient instead. optax differs: δ and
d have the factor 1 - β₂, the decay is y - ηλ y, and there is a second ε inside the root. PyTorch has no Adan. At n = 0
the derivative of √ is taken as 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..autodiff.arrays import safe_sqrt, zeros_like
from ..declare.options import option
from .base import UpdateRule, power


@dataclass(frozen=True)
class Options:
    rate: float = option(1e-3, gt=0, varies=True, doc="step size η")
    beta1: float = option(0.98, ge=0, lt=1, varies=True, doc="β₁, decay of the mean gradient")
    beta2: float = option(0.92, ge=0, lt=1, varies=True, doc="β₂, decay of the mean difference of gradients")
    beta3: float = option(0.99, ge=0, lt=1, varies=True, doc="β₃, decay of the second moment")
    epsilon: float = option(1e-8, gt=0, varies=True, doc="ε, added to the root of the second moment")
    weight_decay: float = option(0.0, ge=0, varies=True, doc="λ; y is divided by 1 + λη")


def slots(o: Any) -> tuple[str, ...]:
    return "count", "m", "d", "n", "g"


def step(o: Any, t: float, g: Any, y: Any, s: Any) -> tuple[Any, dict[str, Any]]:
    delta = g - s.g if t > 1 else zeros_like(g)
    ahead = g + o.beta2 * delta
    m = o.beta1 * s.m + (1 - o.beta1) * g
    d = o.beta2 * s.d + (1 - o.beta2) * delta
    n = o.beta3 * s.n + (1 - o.beta3) * (ahead * ahead)
    m_hat, d_hat, n_hat = (x / (1 - power(b, t)) for x, b in ((m, o.beta1), (d, o.beta2), (n, o.beta3)))
    move = (m_hat + o.beta2 * d_hat) / (safe_sqrt(n_hat) + o.epsilon)
    shrunk = 1 + o.weight_decay * o.rate
    return -o.rate * (move + o.weight_decay * y) / shrunk, {"m": m, "d": d, "n": n, "g": g}


adan = UpdateRule("adan", "adaptive Nesterov momentum", "Xie et al., arXiv 2208.06677", Options, slots, step)
