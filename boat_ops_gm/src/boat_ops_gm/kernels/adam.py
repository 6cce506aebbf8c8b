"""The step of Adam and its adjoint, see `boat_core.adam`.

    m' = β₁m + (1-β₁)g        v' = β₂v + (1-β₂)g²        y' = y - a m'/d,    d = √(cv') + ε
    a = η/(1-β₁ᵗ),  c = 1/(1-β₂ᵗ)

The adjoint maps the cotangents p of y', q of m' and r of v' to the cotangents of m, v and g. The cotangent of y is p.
At v' = 0 the derivative of √ is taken as 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from boat_core import FusedStep, Vector, kernel, scaled

State = Mapping[str, Any]

SOURCE = Path(__file__).with_name("adam.cu")


@kernel(SOURCE, like=("y", "m", "v"))
def adam_step(
    y: Vector, m: Vector, v: Vector, g: Vector, a: float, c: float, beta1: float, beta2: float, epsilon: float
) -> tuple[Vector, Vector, Vector]:
    """Adam: y', m' and v'"""
    m, v = moments(m, v, g, beta1, beta2)
    return y - a * quotient(m, denominator(v, c, epsilon)), m, v


@kernel(SOURCE, like=("m", "v", "g"))
def adam_adjoint(
    m: Vector,
    v: Vector,
    g: Vector,
    p: Vector,
    q: Vector,
    r: Vector,
    a: float,
    c: float,
    beta1: float,
    beta2: float,
    epsilon: float,
) -> tuple[Vector, Vector, Vector]:
    """the cotangents of m, v and g from those of y', m' and v'"""
    m, v = moments(m, v, g, beta1, beta2)
    d = denominator(v, c, epsilon)
    u = a * quotient(p, d)
    q, r = q - u, r + 0.5 * c * quotient_or_zero(times(u, quotient(m, d)), root(v, c))
    return beta1 * q, beta2 * r, (1 - beta1) * q + (2 * (1 - beta2)) * times(g, r)


def moments(m: Vector, v: Vector, g: Vector, beta1: float, beta2: float) -> tuple[Vector, Vector]:
    return beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * times(g, g)


def root(v: Vector, c: float) -> Vector:
    import jittor as jt

    return v.map(lambda v: jt.sqrt(scaled(c, v)))


def denominator(v: Vector, c: float, epsilon: float) -> Vector:
    import jittor as jt

    return root(v, c) + epsilon * v.map(jt.ones_like)


def times(a: Vector, b: Vector) -> Vector:
    return a.map(lambda a, b: a * b, b)


def quotient(a: Vector, b: Vector) -> Vector:
    return a.map(lambda a, b: a / b, b)


def quotient_or_zero(a: Vector, b: Vector) -> Vector:
    """Return a/b, and 0 where b is 0."""
    import jittor as jt

    def of_leaves(a: Any, b: Any) -> Any:
        zero = b == jt.zeros_like(b)
        return jt.ternary(zero, jt.zeros_like(a), a / jt.ternary(zero, jt.ones_like(b), b))

    return a.map(of_leaves, b)


def coefficients(o: Any, t: int) -> tuple[float, ...]:
    return o.rate / (1 - o.beta1**t), 1 / (1 - o.beta2**t), o.beta1, o.beta2, o.epsilon


def advance(o: Any, y: Vector, g: Vector, state: State) -> tuple[Vector, State]:
    t = state["count"] + 1
    y, m, v = adam_step(y, state["m"], state["v"], g, *coefficients(o, t))
    return y, {"count": t, "m": m, "v": v}


def pull(o: Any, y: Vector, g: Vector, state: State, p: Vector, q: State) -> tuple[Vector, State, Vector]:
    numbers = coefficients(o, state["count"] + 1)
    m, v, of_g = adam_adjoint(state["m"], state["v"], g, p, q["m"], q["v"], *numbers)
    return p, {"m": m, "v": v}, of_g


# AMSGrad holds one more array. Plain operators step it.
ADAM = FusedStep(advance, pull, kernels=(adam_step, adam_adjoint), serves=lambda o: not o.amsgrad)
