"""Rprop: a step size for each entry, which grows while the gradient keeps its sign and shrinks when it turns.

    turn = sign(g gₗ)        Δ ← Δ · (grow | shrink | 1 as turn is 1 | -1 | 0), within [smallest, largest]
    g ← 0 where turn = -1        y ← y - Δ sign(g)        gₗ ← g

Source: Riedmiller and Braun, ICNN 1993 (the numbers); Igel and Hüsken, Neurocomputing 50, 2003, as iRprop⁻: no step
back where the sign turns. PyTorch does the same, from 0.01 by default instead of the paper's 0.1; optax 0.2.8 moves by
the step of the iteration before. Only signs of gradients are kept, and the derivative of a sign is taken as 0: y
depends on its start directly, and on the first step size and the factors, but nothing passes through the gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..autodiff.arrays import select, sign
from ..declare.options import option
from ..errors import OptionError
from .base import UpdateRule


@dataclass(frozen=True)
class Options:
    rate: float = option(0.1, gt=0, varies=True, doc="first step size of every entry")
    grow: float = option(1.2, ge=1, varies=True, doc="factor of a step size where the sign stays")
    shrink: float = option(0.5, gt=0, le=1, varies=True, doc="factor where the sign turns")
    smallest: float = option(1e-6, gt=0, varies=True, doc="no step size becomes smaller")
    largest: float = option(50.0, gt=0, varies=True, doc="no step size becomes larger")

    def __post_init__(self) -> None:
        known = isinstance(self.smallest, float) and isinstance(self.largest, float)
        if known and self.smallest > self.largest:
            raise OptionError(where="smallest", expected=f"at most largest={self.largest!r}", got=repr(self.smallest))


def slots(o: Any) -> tuple[str, ...]:
    return "count", "size", "sign"


def step(o: Any, t: float, g: Any, y: Any, s: Any) -> tuple[Any, dict[str, Any]]:
    last = s.size + o.rate if t == 1 else s.size
    turn = sign(g) * s.sign
    size = last * select(turn > 0, o.grow, select(turn < 0, o.shrink, 1.0, g), g)
    size = select(size < o.smallest, o.smallest, size, g)
    size = select(size > o.largest, o.largest, size, g)
    direction = select(turn < 0, 0.0, sign(g), g)
    return -size * direction, {"size": size, "sign": direction}


rprop = UpdateRule(
    "rprop",
    "a step size for each entry, by the sign of the gradient",
    "Riedmiller and Braun, ICNN 1993; Igel and Hüsken, Neurocomputing 50, 2003",
    Options,
    slots,
    step,
    by_sign=True,
)
