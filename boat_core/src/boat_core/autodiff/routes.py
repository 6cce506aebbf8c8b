"""While an objective is evaluated, operators that Jittor computes or differentiates imprecisely go another way.

On float64 arrays only:

- a Python number beside an array: Jittor rounds it to float32, and `0.1 * x` with x of shape (1,) is float32
  altogether. It becomes an array of float64 first.
- `mean`: its gradient takes 1/n rounded to float32 (relative error 3e-8). It becomes a sum times an exact 1/n.

Outside an objective nothing changes: the wrappers act by a context variable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, wraps
from typing import Any

from .arrays import constant
from .backend import jt

_inside: ContextVar[bool] = ContextVar("boat_inside_objective", default=False)


@contextmanager
def inside_objective() -> Iterator[None]:
    """Route operators inside this block."""
    _install()
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)


@cache
def _install() -> None:
    import jittor

    for name in ("add", "sub", "mul", "truediv"):
        for method in (f"__{name}__", f"__r{name}__"):
            setattr(jittor.Var, method, _exact_number(getattr(jittor.Var, method)))
    jittor.Var.__pow__ = _exact_number(jittor.Var.__pow__, kinds=(float,))  # x**2 has a kernel of its own
    jittor.mean = _exact_mean(jittor.mean)
    jittor.Var.mean = _exact_mean(jittor.Var.mean)


def _routed(x: Any) -> bool:
    return _inside.get() and isinstance(x, jt.Var) and str(x.dtype) == "float64"


def _exact_number(operator: Callable[..., Any], kinds: tuple[type, ...] = (int, float)) -> Callable[..., Any]:
    @wraps(operator)
    def routed(x: Any, other: Any) -> Any:
        if type(other) in kinds and _routed(x):
            other = constant(other, x)
        return operator(x, other)

    return routed


def _exact_mean(mean: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(mean)
    def routed(x: Any, *args: Any, **keywords: Any) -> Any:
        if not _routed(x):
            return mean(x, *args, **keywords)
        total = x.sum(*args, **keywords)
        return total * constant(total.numel() / x.numel(), total)

    return routed
