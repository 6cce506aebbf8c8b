"""While an objective is evaluated, operators that Jittor differentiates imprecisely go another way.

`mean` on float64: its gradient takes 1/n rounded to float32 (relative error 3e-8). A sum times an exact 1/n has the
right one. Outside an objective nothing changes: the wrappers act by a context variable.
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

    jittor.mean = _exact_mean(jittor.mean)
    jittor.Var.mean = _exact_mean(jittor.Var.mean)


def _exact_mean(mean: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(mean)
    def routed(x: Any, *args: Any, **keywords: Any) -> Any:
        if not _inside.get() or not isinstance(x, jt.Var) or str(x.dtype) != "float64":
            return mean(x, *args, **keywords)
        total = x.sum(*args, **keywords)
        return total * constant(total.numel() / x.numel(), total)

    return routed
