"""erf and its inverse with derivatives that are right in float64, to every order.

    erf'(x) = c · exp(-x²),  c = 2/√π        erfinv'(x) = d · exp(erfinv(x)²),  d = √π/2

Jittor rounds c and d to float32, a relative error of 5e-8. Each function takes Jittor's own, followed by its argument.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi, sqrt
from typing import Any

from .arrays import Array, detach, is_jittor, number
from .switches import MODE


def erf(function: Callable[..., Array], x: Any) -> Any:
    """Return erf(x). Its derivative is Jittor's times c / float32(c)."""
    value = function(x)
    return _scaled_derivative(value, 2 / sqrt(pi)) if _concerned(x) else value


def erfinv(function: Callable[..., Array], x: Any) -> Any:
    """Return erfinv(x).

    Jittor's derivative is an expression in the result. So the factor goes to the argument: there, the derivatives of
    that expression meet it too.
    """
    return function(_scaled_derivative(x, sqrt(pi) / 2) if _concerned(x) else x)


def _concerned(x: Any) -> bool:
    return is_jittor(x) and str(x.dtype) == "float64" and MODE.get().exact


def _scaled_derivative(x: Array, exact: float) -> Any:
    """Return x, with a derivative of exact / float32(exact)."""
    import numpy as np

    return x + (x - detach(x)) * number(exact / float(np.float32(exact)) - 1, "float64")
