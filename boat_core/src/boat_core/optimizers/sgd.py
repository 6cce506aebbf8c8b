"""SGD, with momentum, Nesterov's momentum and weight decay.

    g ← g + λ y        m ← μ m + g        y ← y - η m              (Nesterov: y ← y - η (g + μ m))

Source: Sutskever et al., ICML 2013, in the form without dampening that PyTorch and optax share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..declare.options import option
from ..errors import OptionError
from .base import UpdateRule


@dataclass(frozen=True)
class Options:
    rate: float = option(gt=0, varies=True, doc="step size η")
    momentum: float = option(0.0, ge=0, lt=1, varies=True, doc="momentum μ")
    nesterov: bool = option(False, doc="look ahead by Nesterov's rule; needs momentum")
    weight_decay: float = option(0.0, ge=0, varies=True, doc="λ of the term λ y added to the gradient")

    def __post_init__(self) -> None:
        if self.nesterov and not slots(self):
            raise OptionError(where="nesterov", expected="momentum > 0 beside it", got="momentum=0.0")


def slots(o: Any) -> tuple[str, ...]:
    return () if isinstance(o.momentum, float) and o.momentum == 0 else ("momentum",)


def step(o: Any, t: float, g: Any, y: Any, s: Any) -> tuple[Any, dict[str, Any]]:
    if not isinstance(o.weight_decay, float) or o.weight_decay:
        g = g + o.weight_decay * y
    if not vars(s):
        return -o.rate * g, {}
    m = o.momentum * s.momentum + g
    return -o.rate * (g + o.momentum * m if o.nesterov else m), {"momentum": m}


sgd = UpdateRule(
    "sgd",
    "gradient descent, with momentum",
    "Sutskever et al., ICML 2013",
    Options,
    slots,
    step,
    plain=lambda o: not (o.momentum or o.weight_decay),
)
