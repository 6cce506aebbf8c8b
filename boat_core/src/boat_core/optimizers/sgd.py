"""SGD, with momentum, Nesterov's momentum and weight decay.

    g ← g + λ y        m ← μ m + g        y ← y - η m              (Nesterov: y ← y - η (g + μ m))

Source: Sutskever et al., ICML 2013, in the form without dampening that PyTorch and optax share.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from optree import tree_map

from ..autodiff.arrays import scaled, zeros_like
from ..errors import OptionError
from ..options import option, read_options
from .base import Optimizer


@dataclass(frozen=True)
class Options:
    rate: float = option(gt=0, doc="step size η")
    momentum: float = option(0.0, ge=0, lt=1, doc="momentum μ")
    nesterov: bool = option(False, doc="look ahead by Nesterov's rule; needs momentum")
    weight_decay: float = option(0.0, ge=0, doc="λ of the term λ y added to the gradient")

    def __post_init__(self) -> None:
        if self.nesterov and self.momentum == 0:
            raise OptionError("nesterov: expected momentum > 0 beside it (got momentum=0.0)")


def sgd(rate: float, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0) -> Optimizer:
    """Stochastic gradient descent. See the module for the formula; raises `OptionError` on values out of range."""
    values = {"rate": rate, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
    o = read_options(Options, values, "sgd")

    def init(parameters: Any) -> Any:
        return {"momentum": tree_map(zeros_like, parameters)} if o.momentum else {}

    def update(g: Any, state: Any, y: Any) -> tuple[Any, Any]:
        if o.weight_decay:
            g = tree_map(lambda g, y: g + scaled(o.weight_decay, y), g, y)
        if not o.momentum:
            return tree_map(lambda g: scaled(-o.rate, g), g), state
        m = tree_map(lambda m, g: scaled(o.momentum, m) + g, state["momentum"], g)
        step = tree_map(lambda g, m: g + scaled(o.momentum, m), g, m) if o.nesterov else m
        return tree_map(lambda s: scaled(-o.rate, s), step), {"momentum": m}

    plain = not (o.momentum or o.weight_decay)
    return Optimizer("sgd", init, update, plain_rate=o.rate if plain else None, rate=o.rate, options=o)


def build(options: Options) -> Optimizer:
    return sgd(**asdict(options))
