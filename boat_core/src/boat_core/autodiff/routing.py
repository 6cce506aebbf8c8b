"""While an objective is evaluated, operators that Jittor computes or differentiates imprecisely go another way.

- The usual spellings of matrix products, convolutions, pooling, cross-entropy and activations go to operators that
  differentiate to every order, see `boat_core.autodiff.operators`; `native=False` leaves them with Jittor.
- Float64 arrays beside a Python number: Jittor rounds it to float32, and `0.1 * x` with x of shape (1,) is float32
  altogether. It becomes an array of float64 first.
- `mean` of float64: its gradient takes 1/n rounded to float32 (relative error 3e-8). It becomes a sum times an exact
  1/n.

Outside an objective nothing changes: the wrappers act by a context variable.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache, wraps
from operator import attrgetter
from types import FunctionType
from typing import Any

from .arrays import constant
from .backend import jt
from .operators.overrides import SPELLINGS
from .switches import MODE


@cache
def install() -> None:
    """Put the wrappers in, once; what was imported from Jittor before that escapes them."""
    import jittor

    for path, replacement in SPELLINGS.items():
        _replace(path, _native(attrgetter(path)(jittor), replacement))
    for name in ("add", "sub", "mul", "truediv"):
        for method in (f"__{name}__", f"__r{name}__"):
            setattr(jittor.Var, method, _exact_number(getattr(jittor.Var, method)))
    jittor.Var.__pow__ = _exact_number(jittor.Var.__pow__, kinds=(float,))  # x**2 has a kernel of its own
    jittor.mean = _exact_mean(jittor.mean)
    jittor.Var.mean = _exact_mean(jittor.Var.mean)


def _replace(path: str, routed: Callable[..., Any]) -> None:
    """Put `routed` wherever Jittor holds what it wraps: under other names, and in modules made of a function."""
    import jittor

    original = routed.__wrapped__  # type: ignore[attr-defined]
    owner, _, name = path.rpartition(".")
    setattr(attrgetter(owner)(jittor) if owner else jittor, name, routed)
    if not isinstance(original, FunctionType):
        return
    modules = [module for key, module in sys.modules.items() if key.split(".")[0] == "jittor"]
    for holder in (*modules, jittor.Var):
        for key, value in list(vars(holder).items()):
            if value is original:
                setattr(holder, key, routed)
            execute = vars(value).get("execute") if isinstance(value, type) else None
            for cell in getattr(execute, "__closure__", None) or ():
                if execute is not routed and cell.cell_contents is original:
                    cell.cell_contents = routed


def _native(original: Callable[..., Any], replacement: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def routed(*args: Any, **keywords: Any) -> Any:
        ops = MODE.get().operators
        if ops is not None:
            result = replacement(ops, *args, **keywords)
            if result is not NotImplemented:
                return result
        return original(*args, **keywords)

    return routed


def _routed(x: Any) -> bool:
    return MODE.get().exact and isinstance(x, jt.Var) and str(x.dtype) == "float64"


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
