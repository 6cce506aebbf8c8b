"""Adam's step and its adjoint, see `boat_core.optimizers.adam`.

    m' = β₁m + (1-β₁)g        v' = β₂v + (1-β₂)g²        y' = y - a m'/d,    d = √(cv') + ε
    a = η/(1-β₁ᵗ),  c = 1/(1-β₂ᵗ)

The adjoint takes the cotangents p of y', q of m' and r of v' to those of m, v and g; y's is p. At v' = 0 the derivative
of √ is taken as 0.
"""

from __future__ import annotations

from pathlib import Path

from boat_core import FusedStep, kernel, scaled

SOURCE = Path(__file__).with_name("adam.cu")


@kernel(SOURCE, like=("y", "m", "v"))
def adam_step(y, m, v, g, a, c, beta1, beta2, epsilon):
    """Adam: y', m' and v'"""
    m, v = moments(m, v, g, beta1, beta2)
    return y - a * quotient(m, denominator(v, c, epsilon)), m, v


@kernel(SOURCE, like=("m", "v", "g"))
def adam_adjoint(m, v, g, p, q, r, a, c, beta1, beta2, epsilon):
    """the cotangents of m, v and g from those of y', m' and v'"""
    m, v = moments(m, v, g, beta1, beta2)
    d = denominator(v, c, epsilon)
    u = a * quotient(p, d)
    q, r = q - u, r + 0.5 * c * quotient_or_zero(times(u, quotient(m, d)), root(v, c))
    return beta1 * q, beta2 * r, (1 - beta1) * q + (2 * (1 - beta2)) * times(g, r)


def moments(m, v, g, beta1, beta2):
    return beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * times(g, g)


def root(v, c):
    import jittor as jt

    return v.map(lambda v: jt.sqrt(scaled(c, v)))


def denominator(v, c, epsilon):
    import jittor as jt

    return root(v, c) + epsilon * v.map(jt.ones_like)


def times(a, b):
    return a.map(lambda a, b: a * b, b)


def quotient(a, b):
    return a.map(lambda a, b: a / b, b)


def quotient_or_zero(a, b):
    """a/b, and 0 where b is."""
    import jittor as jt

    def of_leaves(a, b):
        zero = b == jt.zeros_like(b)
        return jt.ternary(zero, jt.zeros_like(a), a / jt.ternary(zero, jt.ones_like(b), b))

    return a.map(of_leaves, b)


def coefficients(o, t):
    return o.rate / (1 - o.beta1**t), 1 / (1 - o.beta2**t), o.beta1, o.beta2, o.epsilon


def advance(o, y, g, state):
    t = state["count"] + 1
    y, m, v = adam_step(y, state["m"], state["v"], g, *coefficients(o, t))
    return y, {"count": t, "m": m, "v": v}


def pull(o, y, g, state, p, q):
    given = coefficients(o, state["count"] + 1)
    m, v, of_g = adam_adjoint(state["m"], state["v"], g, p, q["m"], q["v"], *given)
    return p, {"m": m, "v": v}, of_g


ADAM = FusedStep(advance, pull, kernels=(adam_step, adam_adjoint))
