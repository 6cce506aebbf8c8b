"""The step of SGD and its adjoint, see `boat_core.sgd`.

    h = g + λy        y' = y - ηh                                                     without momentum
    h = g + λy        m' = μm + h        y' = y - η m'        (Nesterov: y' = y - η (h + μm'))

The adjoint maps the cotangents p of y' and q of m' to the cotangents of y, m and g.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from boat_core import FusedStep, Vector, kernel

State = Mapping[str, Any]

SOURCE = Path(__file__).with_name("sgd.cu")


@kernel(SOURCE, like=("y",))
def sgd_step(y: Vector, g: Vector, rate: float, decay: float) -> tuple[Vector]:
    """y - η(g + λy)"""
    return (y - rate * (g + decay * y),)


@kernel(SOURCE, like=("p", "p"))
def sgd_adjoint(p: Vector, rate: float, decay: float) -> tuple[Vector, Vector]:
    """the cotangents of y and g from that of y - η(g + λy)"""
    of_g = -rate * p
    return p + decay * of_g, of_g


@kernel(SOURCE, like=("y", "m"))
def sgd_momentum_step(
    y: Vector, m: Vector, g: Vector, rate: float, decay: float, momentum: float, nesterov: bool
) -> tuple[Vector, Vector]:
    """SGD with momentum: y' and m'"""
    h = g + decay * y
    m = momentum * m + h
    return y - rate * (h + momentum * m if nesterov else m), m


@kernel(SOURCE, like=("p", "q", "p"))
def sgd_momentum_adjoint(
    p: Vector, q: Vector, rate: float, decay: float, momentum: float, nesterov: bool
) -> tuple[Vector, Vector, Vector]:
    """the cotangents of y, m and g from those of y' and m'"""
    s = -rate * p
    q = q + (momentum * s if nesterov else s)
    of_g = q + s if nesterov else q
    return p + decay * of_g, momentum * q, of_g


def advance(o: Any, y: Vector, g: Vector, state: State) -> tuple[Vector, State]:
    if not o.momentum:
        return sgd_step(y, g, o.rate, o.weight_decay)[0], state
    y, m = sgd_momentum_step(y, state["momentum"], g, o.rate, o.weight_decay, o.momentum, o.nesterov)
    return y, {"momentum": m}


def pull(o: Any, y: Vector, g: Vector, state: State, p: Vector, q: State) -> tuple[Vector, State, Vector]:
    if not o.momentum:
        p, of_g = sgd_adjoint(p, o.rate, o.weight_decay)
        return p, q, of_g
    p, m, of_g = sgd_momentum_adjoint(p, q["momentum"], o.rate, o.weight_decay, o.momentum, o.nesterov)
    return p, {"momentum": m}, of_g


SGD = FusedStep(advance, pull, kernels=(sgd_step, sgd_adjoint, sgd_momentum_step, sgd_momentum_adjoint))
