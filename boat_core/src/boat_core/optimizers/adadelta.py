"""Adadelta: scales each step by the size of the previous steps, without a step size.

    v ← ρ v + (1-ρ) g²        d = g √(a + ε) / √(v + ε)        a ← ρ a + (1-ρ) d²        y ← y - η d

Source: Zeiler 2012, arXiv 1212.5701, algorithm 1. The defaults are the paper's: η = 1, ρ = 0.95 and ε = 1e-6. PyTorch
and optax use ρ = 0.9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..declare.options import option
from .base import UpdateRule


@dataclass(frozen=True)
class Options:
    rate: float = option(1.0, gt=0, varies=True, doc="η, a factor of every step")
    decay: float = option(0.95, ge=0, lt=1, varies=True, doc="ρ, decay of both means of squares")
    epsilon: float = option(1e-6, gt=0, varies=True, doc="ε, added to the means of squares; it sizes the first step")


def slots(o: Any) -> tuple[str, ...]:
    return "v", "a"


def step(o: Any, t: float, g: Any, y: Any, s: Any) -> tuple[Any, dict[str, Any]]:
    v = o.decay * s.v + (1 - o.decay) * (g * g)
    d = g * (s.a + o.epsilon) ** 0.5 / (v + o.epsilon) ** 0.5
    return -o.rate * d, {"v": v, "a": o.decay * s.a + (1 - o.decay) * (d * d)}


adadelta = UpdateRule("adadelta", "steps as large as the last", "Zeiler 2012, arXiv 1212.5701", Options, slots, step)
