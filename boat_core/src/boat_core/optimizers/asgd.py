"""ASGD: gradient descent with a falling step size, and an average of its iterates.

    ηₜ = η / (1 + λη(t-1))^α        y ← y - ηₜ (g + λ y)        ȳ ← ȳ + (y - ȳ) / max(1, t - start + 1)

Source: Polyak and Juditsky, SIAM J. Control Optim. 30, 1992 (the average); Xu 2011, arXiv 1107.2490, and Bottou 2012
(the step sizes). ȳ is `state["average"]`: the mean of the iterates from step `start` on, and before `start` the last
iterate. PyTorch's ASGD is the same with start = t0 + 2, where t0 is 10⁶ by default, but rounds ηₜ to float32. optax has
no ASGD.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..autodiff.arrays import constant
from ..declare.options import option
from .base import UpdateRule


@dataclass(frozen=True)
class Options:
    rate: float = option(1e-2, gt=0, varies=True, doc="first step size η")
    weight_decay: float = option(1e-4, ge=0, varies=True, doc="λ of the term λ y added to the gradient; it slows η too")
    exponent: float = option(0.75, ge=0, varies=True, doc="α, how fast the step size falls")
    start: int = option(1, ge=1, doc="the first step whose iterate is averaged")


def slots(o: Any) -> tuple[str, ...]:
    return "count", "average"


def step(o: Any, t: float, g: Any, y: Any, s: Any) -> tuple[Any, dict[str, Any]]:
    # `slowed` is an array even for plain options, because Jittor takes the power of a number in float32.
    slowed = constant(1.0, g) + o.weight_decay * o.rate * (t - 1)
    move = -o.rate / slowed**o.exponent * (g + o.weight_decay * y)
    weight = 1 / max(1.0, t - o.start + 1)
    return move, {"average": s.average + weight * (y + move - s.average)}


asgd = UpdateRule(
    "asgd",
    "gradient descent with the average of its iterates",
    "Polyak and Juditsky, SIAM J. Control Optim. 30, 1992; Xu 2011, arXiv 1107.2490",
    Options,
    slots,
    step,
)
